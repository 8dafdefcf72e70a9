"""What publishing would do, as text."""

from collections.abc import Iterator, Mapping
from typing import Any

ACTIONS = {
    "open": "open a pull request",
    "update": "update #{number}",
    "merged": "nothing to do: #{number} is merged",
    "closed": "nothing to do: #{number} was closed by a person",
}
PUSHES = {"create": "push (new)", "update": "push (replaces what was pushed)", None: "pushed already"}
MOST_FILES = 20


def preview_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for a preview, as `preview.as_record` returns it."""
    where = record["repository"] or record["url"]
    yield f"run {record['run']}: to {where} ({record['remote']}), merged into {record['branch']} in the end"
    for one in record["pull_requests"]:
        yield ""
        yield from _request_lines(one)
    for one in record["bases"]:
        yield ""
        yield f"branch {one['branch']}: {PUSHES[one['push']]}; pull requests above go to it"
    for one in record["left_out"]:
        yield ""
        yield f"task {one['task']} ({one['branch']}) cannot be published: {one['reason']}"
    yield ""
    if added := record["added"]:
        yield f"with what the named tasks build on: {', '.join(added)}"
    if note := record["note"]:
        yield f"note: {note}"
    if problem := record["problem"]:
        yield f"it cannot be published now: {problem}"
    yield f"{record['total']}; nothing was changed"


def _request_lines(one: Mapping[str, Any]) -> Iterator[str]:
    action = f"cannot be published: {one['obstacle']}" if one["obstacle"] else ACTIONS[one["action"]]
    yield f"{one['label']}: {action.format(number=one['number'])}"
    yield from (f"  {name:<9} {text}" for name, text in _facts(one) if text)
    files = one["files"]
    yield f"  {'files':<9} {len(files)}, +{one['added']} -{one['removed']}"
    yield from (f"            {path}" for path in files[:MOST_FILES])
    if len(files) > MOST_FILES:
        yield f"            and {len(files) - MOST_FILES} more"
    yield from (f"  {'note':<9} {note}" for note in one["notes"])


def _facts(one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "title", one["title"]
    yield "branch", one["branch"] if one["obstacle"] else f"{one['branch']}: {PUSHES[one['push']]}"
    yield "base", one["base"]
    yield "tasks", ", ".join(one["tasks"]) if len(one["tasks"]) > 1 else ""
    more = one["builds_on_total"] - len(one["builds_on"])
    yield "builds on", ", ".join(one["builds_on"]) + (f" and {more} more" if more else "")
    yield "labels", ", ".join(one["labels"])
    yield "reviewers", ", ".join(one["reviewers"])
    yield "draft", "yes" if one["draft"] else ""
