"""Time limits are watched by one thread."""

import threading
from threading import Event

from containers.git.watchdog import Watchdog


def test_function_is_called_once_its_time_is_over() -> None:
    """Also if it is the second of two limits, and shorter than the first."""
    watchdog, called, first = Watchdog(), Event(), Event()
    with watchdog.calling_after(60, first.set), watchdog.calling_after(0.02, called.set):
        assert called.wait(10)
    assert not first.is_set()


def test_function_is_not_called_when_the_context_was_left() -> None:
    watchdog, late, later = Watchdog(), Event(), Event()
    with watchdog.calling_after(0.05, late.set):
        pass
    with watchdog.calling_after(0.2, later.set):
        assert later.wait(10)
    assert not late.is_set()


def test_any_number_of_limits_has_one_thread() -> None:
    watchdog, before = Watchdog(), threading.active_count()
    for _ in range(20):
        with watchdog.calling_after(60, lambda: None):
            assert threading.active_count() == before + 1
