"""Regular expressions that are compiled at their first use.

A command imports some two hundred, a sixth of a millisecond each, and uses a part of them.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from re import compile as regex
else:

    def regex(text: str | bytes, flags: int = 0) -> "_Pattern":
        """Return what has the methods of `re.compile(text, flags)`; a mistake is an error at the first use."""
        return _Pattern(text, flags)


__all__ = ["regex"]


class _Pattern:
    """The methods and attributes of `re.Pattern`, each of which is there after its first use."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self.pattern = text
        self._arguments: tuple[Any, int] = (text, flags)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method of a pattern
        found = getattr(re.compile(*self._arguments), name)  # `re` keeps what it compiled
        setattr(self, name, found)
        return found
