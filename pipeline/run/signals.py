"""Signals that end the program."""

import signal
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import anyio

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def receive_stop_signals() -> AbstractContextManager[AsyncIterator[signal.Signals]]:
    """Return a context manager that receives `STOP_SIGNALS` on the event loop.

    A signal that the parent process made this one ignore, as `nohup` and `&` in a script do, stays ignored.
    """
    received = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return anyio.open_signal_receiver(*received)
