"""Background work by key that several users share: started for the first user, cancelled after the last."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from tasks.lazy.dataclasses import dataclass


class Sharable(Protocol):
    """Work that can be shared."""

    @property
    def is_usable(self) -> bool:
        """Whether a new user may join, rather than start new work."""

    async def run(self) -> None:
        """Do the work until cancelled."""


W = TypeVar("W", bound=Sharable)


@dataclass(slots=True)
class _Shared(Generic[W]):
    work: W
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    users: int = 0


class SharedWork(Generic[W]):
    """The shared work of one kind. It runs in the task group of `open`."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._items: dict[str, _Shared[W]] = {}

    def __iter__(self) -> Iterator[W]:
        """Iterate over the work that is running."""
        return iter([shared.work for shared in self._items.values()])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let work run while the context is open."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    @asynccontextmanager
    async def use(self, key: str, create: Callable[[], Awaitable[W]]) -> AsyncIterator[W]:
        """Use the work of a key while the context is open; `create` makes it where there is none to join.

        Raises:
            RuntimeError: `open` is not active.
        """
        shared = self._usable(key)
        if shared is None:
            created = await create()
            # Another user may have created it in the meantime.
            shared = self._usable(key) or self._start(key, created)
        shared.users += 1
        try:
            yield shared.work
        finally:
            shared.users -= 1
            if shared.users == 0:
                shared.scope.cancel()
                if self._items.get(key) is shared:
                    del self._items[key]

    def _usable(self, key: str) -> _Shared[W] | None:
        shared = self._items.get(key)
        return shared if shared is not None and shared.work.is_usable else None

    def _start(self, key: str, work: W) -> _Shared[W]:
        if self._group is None:
            raise RuntimeError("shared work runs in the context of SharedWork.open")
        shared = self._items[key] = _Shared(work)
        self._group.start_soon(self._run, shared)
        return shared

    @staticmethod
    async def _run(shared: _Shared[W]) -> None:
        with shared.scope:
            await shared.work.run()
