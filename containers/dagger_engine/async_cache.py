"""What several tasks need and one makes."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class AsyncCache(Generic[T]):
    """Things by key, each made when it is first asked for; who asks meanwhile waits for it.

    Where making one fails, or is cancelled, the next who asks makes it.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, T] = {}
        self._locks: dict[Hashable, anyio.Lock] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return the thing with a key."""
        async with self._locks.setdefault(key, anyio.Lock()):
            if key not in self._made:
                self._made[key] = await make()
            return self._made[key]
