"""Runs whose process was killed before they were in the database."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import views

from pipeline.run.stored.recovery import add_missing_runs, write_run_file
from pipeline.store.store import Store

AT_ONCE, RUNS = 4, 20


def test_several_that_open_the_store_at_once_add_a_missing_run_once(tmp_path: Path) -> None:
    """The recovery of a worktree opens the store while the next run does."""
    runs, together = tmp_path / "runs", Barrier(AT_ONCE)
    Store.beside(tmp_path).close()

    def open_store(_: int) -> None:
        with Store.beside(tmp_path) as store:
            together.wait(timeout=60)
            add_missing_runs(store, runs)

    for number in range(RUNS):
        directory = runs / f"r-{number}"
        directory.mkdir(parents=True)
        write_run_file(views.run(id=directory.name, directory=str(directory)))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(open_store, range(AT_ONCE)))

    with Store.beside(tmp_path) as store:
        assert sorted(run.id for run in store.runs()) == sorted(f"r-{number}" for number in range(RUNS))
    assert list(runs.glob("*/run.json")) == []
