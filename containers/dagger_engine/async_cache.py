"""Async cache: each value is computed once and shared."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class AsyncCache(Generic[T]):
    """Values by key, each computed when it is first requested; concurrent callers wait for it.

    If the computation fails or is cancelled, the next caller computes the value.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, T] = {}
        self._locks: dict[Hashable, anyio.Lock] = {}

    async def get(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> T:
        """Return the value of a key; `compute` is called if there is none yet."""
        async with self._locks.setdefault(key, anyio.Lock()):
            if key not in self._values:
                self._values[key] = await compute()
            return self._values[key]
