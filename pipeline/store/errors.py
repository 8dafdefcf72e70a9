"""Errors of the store, each one sentence."""

from tasks.errors import PatchyardError


class StoreError(PatchyardError):
    """The database cannot be opened, read or written."""


class StoreUnavailableError(StoreError):
    """The database server does not answer or closed the connection; retrying may help."""


class LeaseLostError(StoreError):
    """Another process has claimed the run; this one must not write to it."""

    def __init__(self, run: str) -> None:
        super().__init__(
            f"run {run} was claimed by another process; this process stopped its tasks and stored nothing more"
        )
