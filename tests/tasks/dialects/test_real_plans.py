"""Plans of public repositories, in the folder of `PATCHYARD_REAL_PLANS`, as `<dialect>/<repository>/<path>`.

The files are not part of this repository. The numbers are what a person counted in them.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from conversions import read_again

from pipeline.run.call.plan_file import read_plan
from tasks.dialects.read_options import NAMES, Order, ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.model import Plan, Task
from tasks.plan.parser import Parsed

ROOT = Path(os.environ.get("PATCHYARD_REAL_PLANS") or "/nonexistent")
pytestmark = [
    pytest.mark.real_plans,
    pytest.mark.skipif(not ROOT.is_dir(), reason="PATCHYARD_REAL_PLANS names no folder of real plans"),
]


class Count(NamedTuple):
    """How many units, items, and done items a plan has."""

    units: int
    items: int
    done: int = 0


COUNTS = {
    "bmad/writescore-2.10.verb-morphosyntax-dimension.story": Count(1, 6),
    "bmad/writescore-6.7.contributor-experience.story": Count(1, 5, 5),
    "checklist/cipher-box-.planning": Count(14, 84, 71),
    "checklist/ghostty-webgl-plan": Count(1, 8),
    "checklist/ghostty-webgl-todo": Count(2, 12, 12),
    "conductor/homelab-conductor_docs_20260115": Count(8, 8, 8),
    "conductor/homelab-migrate_subdir_agents_20260115": Count(4, 4, 4),
    "conductor/simplui-advanced_sliders_20260108": Count(3, 3, 1),
    "conductor/simplui-fix_z_image_prompt_20260211": Count(7, 7, 7),
    "gsd/cipher-box-02-authentication": Count(4, 12, 9),
    "gsd/cipher-box-09.1-env-devops-staging": Count(6, 11, 11),
    "gsd/norish-23-cookbook-context-move": Count(2, 7, 7),
    "humanlayer/stepwise-dev-prevent-6000-token-limit-error": Count(3, 3),
    "humanlayer/trading-analyst-arena-sector-backfill": Count(3, 3),
    "humanlayer/trading-analyst-extract-arena-config-panel": Count(1, 1, 1),
    "humanlayer/trading-analyst-phase-4-ibs-entry-filter": Count(1, 1, 1),
    "kiro/oneco-animal-category-field": Count(5, 16, 16),
    "kiro/oneco-llm-extraction-engine": Count(7, 18, 16),
    "kiro/oneco-public-web-portal": Count(6, 28, 28),
    "kiro/oneco-rule-based-extraction-engine": Count(7, 30, 21),
    "kiro/oneco-syndication-service": Count(13, 50, 35),
    "kiro/page-metrics-extension-core-web-vitals-assessment": Count(10, 26, 24),
    "kiro/page-metrics-extension-performance-recommendations": Count(14, 28, 27),
    "kiro/task-orchestrator-mcp-task-management-mcp-server": Count(1, 8),
    "openspec/norish-add-locale-aware-unit-parsing": Count(10, 10),  # sections; its boxes are for the release
    "openspec/norish-align-mobile-grocery-models": Count(9, 11, 10),
    "openspec/norish-fix-mobile-bugs-and-import-reliability": Count(6, 34),
    "openspec/norish-update-ingredient-parsing": Count(11, 55),
    "openspec/openspec-add-change-stacking-awareness": Count(6, 22),
    "openspec/openspec-add-complexity-guidelines": Count(2, 4, 4),
    "openspec/openspec-add-global-install-scope": Count(8, 38),
    "openspec/openspec-add-init-agents-target": Count(4, 10, 10),
    "openspec/openspec-add-tool-command-surface-capabilities": Count(7, 33),
    "openspec/openspec-fix-schemas-root-selection": Count(3, 14, 13),
    "others/ccpm-demo-10": Count(3, 24),
    "ralph/ralph-prd.json": Count(4, 4),
    "ralph/xrpl-cli-ng-prd-credentials": Count(4, 4),
    "ralph/xrpl-cli-ng-prd-mptoken": Count(4, 4, 1),
    "sisyphus/opencode-mem-auto-install": Count(13, 13, 13),
    "sisyphus/opencode-mem-wire-hooks-full-audit": Count(9, 9),
    "spec-kit/emacs-a11y-setup-001-migracao-modulos-config-workspace": Count(8, 81, 81),
    "spec-kit/emacs-a11y-setup-002-community-package-management": Count(7, 32, 32),
    "spec-kit/spec-kit-tasks-template": Count(6, 34),
    "spec-kit/subtree-003-init-command": Count(6, 85, 85),
    "spec-kit/subtree-004-add-command": Count(7, 89, 88),
    "spec-kit/subtree-007-case-insensitive-names": Count(5, 46, 46),
    "spec-kit/subtree-008-extract-command": Count(8, 185, 178),
    "spec-kit/subtree-009-multi-pattern-extraction": Count(6, 49, 49),
    "superpowers/digstore-cli-ux-phase1": Count(10, 10),
    "superpowers/digstore-hd-wallet-support": Count(5, 5),
    "superpowers/digstore-onchain-anchoring": Count(16, 16, 5),
    "superpowers/gsd-2-cicd-pipeline": Count(11, 11),
    "superpowers/mcp_flutter-visual-reconstruct-next": Count(4, 20, 19),
    "superpowers/medtimer-adaptive-app-navigation-suite": Count(4, 4),
    "superpowers/neatchat-competitive-chat-shell-v1": Count(3, 3),
    "superpowers/neatchat-gpt-5-6-prompt-cache-disabled": Count(3, 3, 3),
    "superpowers/neatchat-review-fixes-performance": Count(8, 8),
    "superpowers/open-relay-agent-ready-prompt-rendering": Count(4, 4),
    "superpowers/open-relay-git-state-generator": Count(5, 5),
    "superpowers/open-relay-package-release-smoke": Count(4, 4),
    "superpowers/pizzapi-mcp-deferral-status": Count(4, 4),
    "superpowers/pizzapi-stable-live-transcript": Count(8, 8),
    "superpowers/pizzapi-unified-provider-interface": Count(6, 6),
    "superpowers/superpowers-document-review-system": Count(5, 5),
    "superpowers/superpowers-opencode-support-implementation": Count(18, 18),
    "superpowers/superpowers-pi-extension-and-evals": Count(4, 4),
    "superpowers/superpowers-sdd-task-scoped-review-dispatch": Count(7, 7),
    "superpowers/superpowers-zero-dep-brainstorm-server": Count(4, 4),
    "taskmaster/edu-parser-tasks": Count(11, 60, 55),
    "taskmaster/expense-analyser-tasks": Count(10, 44, 44),
}
"""What there is to count in the plan of a folder."""

OTHERWISE = {
    "superpowers/mcp_flutter-visual-reconstruct-next": "checklist",  # phases of boxes, without a task
    "others/ccpm-demo-10": "checklist",  # the acceptance criteria of an issue
}
"""Plans that are of another dialect than their folder."""

NO_PLANS = {
    "bmad/writescore-2.1a.remediation-plan.story": "changes to another story: no section of tasks, no box",
    "checklist/mdcode-implementation_plan": "bullets without a box",
    "others/compound-engineering-plugin-001-fix-mode-non-interactive-rename-plan": "of no known dialect",
    "others/skills-supply-.agent": "instructions for how plans are written",
    "others/virtualfilesystem-003-fix-rename-directory-operation": "of no known dialect",
}
"""What cannot be read, and why."""

NEIGHBOURS = re.compile(r"(?:^|/)(?:spec|design|requirements|proposal)\.md$|-SUMMARY\.md$")
OPEN = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\[[ \u00a0]?\]\s*\S")
FENCE = re.compile(r"\s*(?:>\s*)?(`{3,}|~{3,})(.*)")


def folders() -> list[str]:
    """Return the folders of plans, such as `kiro/name`; those of the native format are not among them."""
    found = (folder.relative_to(ROOT).as_posix() for folder in ROOT.glob("*/*/"))
    return sorted(name for name in found if not name.startswith("ancestor/"))


def files(folder: str) -> list[Path]:
    """Return the plans of a folder."""
    found = sorted(path for path in (ROOT / folder).rglob("*") if path.is_file())
    return [path for path in found if not NEIGHBOURS.search(path.as_posix())]


def read(folder: str, options: ReadOptions | None = None) -> Parsed:
    """Read the plan of a folder: its one file, or the directory of several."""
    plans = files(folder)
    path = plans[0] if len(plans) == 1 else plans[0].parent
    file = read_plan(str(path))
    return parse(file.data, file.path, agent="agent", options=options, beside=file.beside)


def plan_of(folder: str, options: ReadOptions | None = None) -> Plan:
    found = read(folder, options)
    assert found.plan, found.diagnostics
    return found.plan


def open_boxes(text: str) -> Iterator[str]:
    """Yield the lines of open boxes outside of fences, read line by line."""
    fence = ""
    for line in text.splitlines():
        found = FENCE.match(line)
        if found and not fence:
            fence = found[1]
        elif found and found[1].startswith(fence) and not found[2].strip():
            fence = ""
        elif not fence and OPEN.match(line):
            yield line.strip()


def lines_of(texts: Sequence[str]) -> Counter[str]:
    return Counter(line.strip() for text in texts for line in text.splitlines())


@pytest.mark.parametrize("folder", folders())
def test_every_folder_is_known(folder: str) -> None:
    assert (folder in COUNTS) != (folder in NO_PLANS)


@pytest.mark.parametrize("folder", [name for name in folders() if name in NO_PLANS])
def test_what_cannot_be_read_has_an_error(folder: str) -> None:
    found = read(folder)
    assert found.plan is None
    assert found.errors


@pytest.mark.parametrize("folder", [name for name in folders() if name in COUNTS])
def test_a_plan_is_read_as_its_dialect_with_all_that_is_in_it(folder: str) -> None:
    plan = plan_of(folder)
    assert plan.dialect == OTHERWISE.get(folder, folder.partition("/")[0])
    assert Count(len(plan.tasks), plan.items, plan.done_items) == COUNTS[folder]


@pytest.mark.parametrize("unit", [None, UnitKind.ITEM, UnitKind.GROUP])
@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("folder", [name for name in folders() if name in COUNTS])
def test_tasks_have_ids_and_known_dependencies(folder: str, unit: UnitKind | None, order: Order) -> None:
    plan = plan_of(folder, ReadOptions(unit=unit, order=order))
    ids = [task.id for task in plan.tasks]
    assert len(set(ids)) == len(ids)
    assert all(set(task.dependencies or ()) <= set(ids) - {task.id} for task in plan.tasks)
    assert Count(0, plan.items, plan.done_items) == COUNTS[folder]._replace(units=0)


@pytest.mark.parametrize("unit", [None, UnitKind.ITEM, UnitKind.GROUP])
@pytest.mark.parametrize("folder", [name for name in folders() if name in COUNTS])
def test_every_open_box_is_in_one_task_or_about_the_plan(folder: str, unit: UnitKind | None) -> None:
    plan = plan_of(folder, ReadOptions(unit=unit, optional=True))
    texts = [path.read_text(encoding="utf-8") for path in files(folder) if path.suffix == ".md"]
    everywhere = lines_of(texts)
    given = lines_of([task.implementation for task in plan.tasks])
    about = lines_of([plan.header, plan.footer, *{task.group: task.group_text for task in plan.tasks}.values()])
    checked = {text for task in plan.tasks for text in manual(task)}
    for box, times in Counter(box for text in texts for box in open_boxes(text)).items():
        if "User Manual Verification" in box:
            continue  # for a person: `check` says so
        assert given[box] <= everywhere[box], box
        assert given[box] + about[box] >= times or box in checked, box


def manual(task: Task) -> Iterator[str]:
    """Yield what a person checks, as it is in the plan."""
    for text in task.manual:
        yield f"- [ ] {text}"


@pytest.mark.parametrize("unit", [None, UnitKind.ITEM, UnitKind.GROUP])
@pytest.mark.parametrize("folder", [name for name in folders() if name in COUNTS])
def test_a_converted_plan_is_the_same_plan(folder: str, unit: UnitKind | None) -> None:
    for order in Order:
        text, _ = read_again(plan_of(folder, ReadOptions(unit=unit, order=order)))
        assert "json verbatim" not in text


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("folder", folders())
def test_any_plan_can_be_read_as_any_dialect(folder: str, dialect: str) -> None:
    for found in read(folder, ReadOptions(dialect=dialect)).diagnostics:
        assert found.line >= 1
        assert found.column >= 1
