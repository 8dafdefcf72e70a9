"""The plan's part of branch names, where another plan uses it already. Blocking."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.store.records import PlanOfRun, Run
from pipeline.store.store import Store
from tasks.model import Plan
from tasks.plan.parser import with_digest


def choose_plan_name(store: Store, run: Run, root: Path) -> str:
    """Return the name for the branches of a new run's plan, and store it with the run. Blocking.

    That is the name of the plan's earlier runs. It gets a digest where runs of another plan have used it.

    Args:
        store: The store, which has the run.
        run: The run.
        root: The top level of the repository, which relative paths of plans may start from.
    """
    earlier = [other for other in reversed(store.plans_of_runs()) if other.run != run.id]
    name = _choose(run, earlier, root)
    if name != run.plan_name:
        store.name_plan(run.id, name)
    return name


def _choose(run: Run, earlier: Sequence[PlanOfRun], root: Path) -> str:
    others = [one for one in earlier if not _is_same_plan(run, one, root)]
    taken = {one.name for one in others}
    own = (one.name for one in earlier if _is_same_plan(run, one, root))
    for name in (*own, run.plan_name):
        if name not in taken:
            return name
    # Another title is enough for a name that is the same in every clone.
    same_title = any(one.title == run.plan_title for one in others if one.name == run.plan_name)
    by_title, by_path = _with_digests(run.plan_name, run.plan_title, run.plan_path)
    return by_path if same_title else by_title


def plan_names(plan: Plan) -> tuple[str, ...]:
    """Return the names that a run of a plan may choose for its branches."""
    return plan.name, *_with_digests(plan.name, plan.title, plan.path)


def _with_digests(name: str, title: str, path: str) -> tuple[str, str]:
    """Return a name with a digest of the title, and of the title and the path."""
    return with_digest(name, title), with_digest(name, f"{title}\n{path}")


def _is_same_plan(run: Run, other: PlanOfRun, root: Path) -> bool:
    """Whether two runs are of one plan: by its title, and by its file unless that was moved."""
    if other.title != run.plan_title:
        return False
    if other.path == run.plan_path:
        return True
    here, there = _find(run.plan_path, root), _find(other.path, root)
    return here is None or there is None or here.samefile(there)


def _find(path: str, root: Path) -> Path | None:
    """Return the file of a plan, by a path as the user gave it; `None` if it is not there any more."""
    return next((file for file in (Path(path), root / path) if file.is_file()), None)
