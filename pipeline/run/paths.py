"""Where the files of runs are, below a repository's common git directory."""

from pathlib import Path


def runs_directory(common: Path) -> Path:
    """Return the directory that holds one directory per run."""
    return common / "patchyard" / "runs"


def run_directory(common: Path, run: str) -> Path:
    """Return the directory of a run: its logs and its lock."""
    return runs_directory(common) / run


def base_log_path(directory: Path, task: str, attempt: int) -> Path:
    """Return the log file of the checks that are made for a task, where it starts, before an attempt."""
    return log_path(directory, f"{task}.base", attempt)


def log_path(directory: Path, task: str, attempt: int) -> Path:
    """Return the log file of one attempt at a task; `attempt` counts from 1."""
    return directory / (f"{task}.log" if attempt == 1 else f"{task}.attempt-{attempt}.log")
