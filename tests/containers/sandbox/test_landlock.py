"""What restricts a task's processes costs the program nothing that stays."""

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from containers.sandbox.landlock import has_scopes
from containers.sandbox.seccomp import filter_thread


def garbage_of(call: Callable[[], object]) -> int:
    """Return how many objects the collector finds after fifty calls; the first one does not count."""
    call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            call()
        return gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize("call", [has_scopes, lambda: filter_thread("/bin/true")], ids=["domain", "filter"])
def test_asking_for_it_leaves_no_cycles(call: Callable[[], object]) -> None:
    """Cycles of objects stay for thousands of tasks: the collector looks for them late."""
    with ThreadPoolExecutor(1) as thread:  # a filter stays with its thread
        assert thread.submit(garbage_of, call).result() < 50
