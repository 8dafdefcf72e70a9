"""Pass the events of a run to the observers that receive them."""

import queue
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from pipeline.events import Event


class Observer(Protocol):
    """Receives the events of a run in order, always in the same thread."""

    def notify(self, event: Event) -> None:
        """Receive an event. May block: it is never called on the event loop."""

    def close(self) -> None:
        """Write what is still buffered; no event follows."""


class Listener(Protocol):
    """Receives events on the event loop and in threads; must not block."""

    def notify(self, event: Event) -> None:
        """Receive an event."""


class Broadcast:
    """Listener that passes events to observers in a separate thread, so that a slow observer delays nothing.

    A context manager: its exit waits until every event was delivered. An observer that raises receives no more
    events, and its error is stored in `failure`; the run continues.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="observers", daemon=True)
        self.failure: BaseException | None = None

    def notify(self, event: Event) -> None:
        """Queue an event; does not block."""
        self._queue.put(event)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Deliver the queued events, and close the observers. Blocking."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            for observer in list(self._observers):
                try:
                    observer.notify(event)
                except Exception as error:  # noqa: BLE001 - an observer must not end the run
                    self.failure = error
                    self._observers.remove(observer)
        for observer in self._observers:
            try:
                observer.close()
            except Exception as error:  # noqa: BLE001 - likewise
                self.failure = error
