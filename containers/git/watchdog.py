"""Time limits of git calls, watched by one thread: a `threading.Timer` would start a thread for each call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from itertools import count
from math import inf
from threading import Condition, Thread
from time import monotonic

from tasks.lazy.dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Watchdog:
    """Calls functions whose time is over. Safe for several threads."""

    _changed: Condition = field(default_factory=Condition)
    _limits: dict[int, tuple[float, Callable[[], None]]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    _wakes_at: float = inf  # in seconds of `monotonic`
    _thread: Thread | None = None

    @contextmanager
    def calling_after(self, seconds: float, function: Callable[[], None]) -> Iterator[None]:
        """Call a function once, from another thread, if the context is not left before the time is over.

        It is not called, nor running any more, once the context was left. It must not block.
        """
        number, end = next(self._numbers), monotonic() + seconds
        with self._changed:
            self._limits[number] = (end, function)
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="time limits", daemon=True)
                self._thread.start()
            if end < self._wakes_at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._limits.pop(number, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                over = [number for number, (end, _) in self._limits.items() if end <= monotonic()]
                for number in over:
                    self._limits.pop(number)[1]()
                self._wakes_at = min((end for end, _ in self._limits.values()), default=inf)
                # Not woken when a limit is removed: a call is short, and its limit is not.
                self._changed.wait(None if self._wakes_at == inf else max(0.0, self._wakes_at - monotonic()))
