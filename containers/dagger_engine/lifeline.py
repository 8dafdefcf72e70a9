"""The input of a process that is to end when nobody holds the other end of it any more."""

import os
import signal
import sys
from contextlib import suppress

if sys.platform == "linux":
    import fcntl


class Lifeline:
    """A pipe. A process that reads from it sees its end when this one closes it, or ends in whatever way.

    Until it does read, the system can end it: Linux signals whoever owns the reading end when that has news.
    """

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self._open = {self.reader, self._writer}

    def bind(self, pid: int) -> None:
        """Have the system kill a process, to which `reader` was given, when the other end is closed."""
        if sys.platform == "linux":
            with suppress(OSError):
                fcntl.fcntl(self.reader, fcntl.F_SETOWN, pid)
                fcntl.fcntl(self.reader, fcntl.F_SETSIG, signal.SIGKILL)
                flags = fcntl.fcntl(self.reader, fcntl.F_GETFL)
                fcntl.fcntl(self.reader, fcntl.F_SETFL, flags | os.O_ASYNC)

    def release(self) -> None:
        """Leave it to the process to end by itself."""
        if sys.platform == "linux":
            with suppress(OSError):
                flags = fcntl.fcntl(self.reader, fcntl.F_GETFL)
                fcntl.fcntl(self.reader, fcntl.F_SETFL, flags & ~os.O_ASYNC)

    def close(self) -> None:
        """Close both ends."""
        while self._open:
            os.close(self._open.pop())
