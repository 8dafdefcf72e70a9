"""Write a run to a directory: its patches and its report, for `importer` in another clone."""

from pathlib import Path

from containers.git.repository import Repository
from pipeline.report.markdown import markdown
from pipeline.report.model import JSON_FILE, ReportError, build_report
from pipeline.store.records import Run
from pipeline.store.store import Store

MARKDOWN_FILE = "report.md"


def export_run(repository: Repository, store: Store, run: Run, directory: Path) -> tuple[Path, ...]:
    """Write the patches and the report of a run to a directory, and return the patches' paths. Blocking.

    Raises:
        ReportError: The directory cannot be written to.
    """
    report = build_report(repository, store, run)
    diffs = {item.outcome.task: item.outcome.patch for item in store.tasks(run.id)}
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for task in report.tasks:
            patch = diffs[task.task]
            if task.patch and patch:
                written.append(directory / task.patch)
                with written[-1].open("wb") as file:
                    file.writelines(patch.diff.blocks())
        (directory / JSON_FILE).write_text(report.as_json, "ascii")
        (directory / MARKDOWN_FILE).write_text(markdown(report), "utf-8")
    except OSError as error:
        raise ReportError(f"cannot write to {directory}: {error.strerror}") from None
    return tuple(written)
