"""A run written into a directory: its patches and its report. `importing` reads it, in whatever clone."""

from pathlib import Path

from containers.git.repository import Repository
from pipeline.report.markdown import markdown
from pipeline.report.model import JSON_FILE, ReportError, report_of
from pipeline.store.records import Run
from pipeline.store.store import Store

MARKDOWN_FILE = "report.md"


def export_run(repository: Repository, store: Store, run: Run, directory: Path) -> tuple[Path, ...]:
    """Write the patches and the report of a run into a directory, and return the patches' paths. Blocks.

    Raises:
        ReportError: They cannot be written.
    """
    report = report_of(repository, store, run)
    diffs = {item.outcome.task: item.outcome.patch for item in store.tasks(run.id)}
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for task in report.tasks:
            patch = diffs[task.task]
            if task.patch and patch:
                written.append(directory / task.patch)
                written[-1].write_bytes(patch.diff)
        (directory / JSON_FILE).write_text(report.as_json, "ascii")
        (directory / MARKDOWN_FILE).write_text(markdown(report), "utf-8")
    except OSError as error:
        raise ReportError(f"cannot write to {directory}: {error.strerror}") from None
    return tuple(written)
