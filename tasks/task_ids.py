"""Ids of tasks. They are part of the names of files, branches and addresses, so not any text is one."""

from tasks.lazy.patterns import regex

PATTERN = "[0-9A-Za-z_][0-9A-Za-z._-]{0,127}"
"""What an id consists of; `is_task_id` is stricter."""
_ID = regex(PATTERN)
_NOT_IN_ID = regex(r"[^A-Za-z0-9._-]+|\.{2,}")
_LONGEST = 120
"""Characters of an id that is made, so that there is room for a number."""
_LOCK = ".lock"


def is_task_id(text: str) -> bool:
    """Whether a text can be the id of a task.

    What git does not take in the name of a branch is in none (https://git-scm.com/docs/git-check-ref-format).
    """
    return bool(_ID.fullmatch(text)) and ".." not in text and not text.endswith((".", _LOCK))


def as_task_id(text: str) -> str:
    """Return an id for a text, with `-` in place of what cannot be in one."""
    plain = _NOT_IN_ID.sub("-", text)[:_LONGEST].strip("-.")
    return (f"{plain.removesuffix(_LOCK)}-lock" if plain.endswith(_LOCK) else plain) or "task"
