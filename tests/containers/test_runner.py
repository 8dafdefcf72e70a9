"""The time limit of a task."""

from containers.runner import Deadline


class TestDeadline:
    def test_without_a_limit_it_never_passes(self) -> None:
        assert Deadline(None).remaining == float("inf")
        assert not Deadline(None).passed
        assert not Deadline(float("inf")).passed

    def test_passed_deadline(self) -> None:
        assert Deadline(0).passed
        assert not Deadline(1000).passed
