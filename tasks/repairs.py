"""How often a task is tried again after a failure."""

MOST_REPAIRS = 100
"""The most repairs of a task."""


def parse_repairs(value: object) -> int:
    """Return a number of repairs; `value` is a number or a text.

    Raises:
        ValueError: It is not one; the message is a part of a sentence for the user.
    """
    try:
        count = -1 if isinstance(value, bool) else int(str(value))
    except ValueError:
        count = -1
    if not 0 <= count <= MOST_REPAIRS:
        raise ValueError(f"expected a whole number from 0 to {MOST_REPAIRS}")
    return count
