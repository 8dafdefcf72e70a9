"""The front matter of a plan, and the text below it."""

from tasks.diagnostics import Report
from tasks.lazy.dataclasses import dataclass
from tasks.model import PlanSettings

MAX_CHARACTERS = 100_000
_ENDS = frozenset({"---", "..."})


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """Settings, the text below with unchanged line numbers, and line and column of `agent` (1-based).

    `version` is that of the format. `title` is the plan's, where no heading gives it, and `documents` are paths
    of what is to be read with the plan.
    """

    settings: PlanSettings
    body: str
    agent_at: tuple[int, int] = (1, 1)
    version: int = 1
    title: str | None = None
    documents: tuple[str, ...] = ()

    @property
    def extended(self) -> bool:
        """Whether the plan is of version 2 of the format, which has more fields."""
        return self.version > 1


def read_front_matter(text: str, report: Report) -> FrontMatter:
    """Return what the front matter of a plan sets; a plan without any sets nothing."""
    lines = text.split("\n")
    if lines[0].rstrip(" \t") != "---":
        return FrontMatter(PlanSettings(), text)
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip(" \t") in _ENDS), None)
    if end is None:
        report.error(1, 1, "the front matter is not closed: write `---` on a line of its own below it")
        return FrontMatter(PlanSettings(), "\n" * len(lines))
    # Empty lines in its place keep the line numbers of what follows.
    body = "\n".join([""] * (end + 1) + lines[end + 1 :])
    source = "\n".join(["", *lines[1:end], ""])
    if len(source) > MAX_CHARACTERS:
        report.error(1, 1, f"the front matter is longer than {MAX_CHARACTERS:,} characters")
        return FrontMatter(PlanSettings(), body)
    from tasks.plan.front_matter_values import ValueReader, compose  # noqa: PLC0415 - start-up stays quick

    root = compose(source, report)
    reader = ValueReader(report)
    found = reader.values(root) if root is not None else {}
    version, title = found.pop("patchyard", 1), found.pop("title", None)
    documents = found.pop("documents", ())
    return FrontMatter(PlanSettings(**found), body, reader.agent_at, version, title, documents)
