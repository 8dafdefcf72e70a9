"""Files that are large for a forge, in one sentence."""

from collections.abc import Mapping

from pipeline.forge.base import FileLimits
from tasks.sizes import format_size
from tasks.text import without_unprintable

_NAMED = 3
"""How many of the largest files a message names."""
_MEBIBYTE = 1 << 20


def refusal(files: Mapping[str, int], limits: FileLimits) -> str | None:
    """Return why a forge does not take a commit with these files, sizes by path; `None` if it does."""
    over = {path: size for path, size in files.items() if size > limits.most}
    if not over:
        return None
    return (
        f"{limits.name} takes no file over {_limit(limits.most)}, so its branch was not pushed: "
        f"{_names(over)}; store such a file with Git LFS, or leave it out"
    )


def warning(files: Mapping[str, int], limits: FileLimits) -> str | None:
    """Return what to know about a commit with these files, sizes by path; `None` if they are not large."""
    if not files:
        return None
    if max(files.values()) > limits.most:
        what = f"{limits.name} takes no file over {_limit(limits.most)} unless its administrator allows it"
    else:
        what = f"{limits.name} advises against files over {_limit(limits.advised)}"
    return f"{what}: {_names(files)}"


def _limit(size: int) -> str:
    """Return a limit as its documentation has it: in units of 1024."""
    return format_size(size) if size % _MEBIBYTE else f"{size // _MEBIBYTE} MiB"


def _names(files: Mapping[str, int]) -> str:
    largest = sorted(files, key=lambda path: (-files[path], path))[:_NAMED]
    named = ", ".join(f"{without_unprintable(path)} ({format_size(files[path])})" for path in largest)
    return f"{named} and {len(files) - len(largest)} more" if len(files) > len(largest) else named
