"""The domain of a task's processes costs the program nothing that stays."""

import gc

from containers.sandbox.landlock import has_scopes


def test_asking_for_it_leaves_no_cycles() -> None:
    """Cycles of objects stay for thousands of tasks: the collector looks for them late."""
    has_scopes()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            has_scopes()
        assert gc.collect() < 50
    finally:
        gc.enable()
