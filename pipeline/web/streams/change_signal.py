"""Wake everybody who waits for the next change of something."""

import anyio

LONGEST_WAIT = 1.0
"""Seconds after which a waiting task looks again: not every change is signalled, such as the end of a run."""


class ChangeSignal:
    """A signal that is given again and again; each time it wakes those who wait at that moment."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake all that wait."""
        event, self._event = self._event, anyio.Event()
        event.set()

    async def wait(self) -> None:
        """Wait for the next change, at most `LONGEST_WAIT`."""
        event = self._event
        with anyio.move_on_after(LONGEST_WAIT):
            await event.wait()
