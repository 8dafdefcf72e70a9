"""The conflicts of a run as the API shows them."""

from collections.abc import Iterator
from dataclasses import asdict

from pipeline.run.results.conflict_sides import FileConflict, pairs_of
from pipeline.web.result_schemas import ConflictFile, ConflictHunk, ConflictPair, ConflictSide, ConflictState
from pipeline.web.snapshot import LocatedRun
from tasks.text import without_surrogates


def conflict_states(located: LocatedRun) -> list[ConflictState]:
    """Return the conflicts of a run, with the places and both sides of each. Blocking."""
    outcomes = {item.outcome.task: item.outcome for item in located.store.tasks(located.run.id)}
    return [
        ConflictState(
            batch=conflict.batch,
            task=conflict.tasks[-1],
            others=list(conflict.tasks[:-1]),
            files=[without_surrogates(path) for path in conflict.files],
            message=without_surrogates(str(conflict)),
            pairs=[
                ConflictPair(other=pair.other, task=pair.task, note=pair.note, files=list(_files(pair.files)))
                for pair in pairs_of(located.repository, conflict, outcomes)
            ],
        )
        for conflict in located.store.conflicts(located.run.id)
    ]


def _files(files: tuple[FileConflict, ...]) -> Iterator[ConflictFile]:
    for file in files:
        hunks = [
            ConflictHunk(
                ours=ConflictSide.model_validate(asdict(hunk.ours)),
                theirs=ConflictSide.model_validate(asdict(hunk.theirs)),
            )
            for hunk in file.hunks
        ]
        yield ConflictFile(path=without_surrogates(file.path), note=file.note, hunks=hunks)
