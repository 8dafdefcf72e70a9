"""Read which units a sentence such as `Depends on: Task 1 (why), Tasks 3-5` names."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

ID = r"(?:(?:[A-Za-z]{1,4}-?)?[0-9]{1,6}(?:\.[0-9]{1,6}){0,5}[a-z]?|[A-Z])(?![\w.]*\w)"
"""A unit's number: `1`, `1.2`, `A1`, `T-3`, `5b`, or one capital letter."""

_DASH = r"(?:-|–|—|~|to|through|thru|bis|到|至)"  # noqa: RUF001 - the dashes that people type
_WORD = r"(?i:tasks?|todos?|items?|任务|任務|タスク|작업|태스크|tareas?|tarefas?)"
_GROUP = r"(?:chunks?|phases?|parts?|slices?|waves?|PRs?|groups?|阶段|fases?|partes?)"
_JOIN = rf"\s*(?:,|;|&|\+|/|、|,|\band\b|\bor\b|\by\b|\be\b|和|{_DASH})+\s*(?:and\s+)?"
_CHAIN = rf"#?{ID}(?:{_JOIN}(?:{_WORD}\s*)?#?{ID})*"
_TASKS = regex(rf"(?i:\b|(?<=[\W\d])){'(?i:' + _WORD + ')'}\s*#?\s*(?P<chain>{_CHAIN})")
_GROUPS = regex(rf"(?i:\b{_GROUP})\s*#?\s*(?P<chain>{_CHAIN})")
_BARE = regex(rf"\s*(?P<chain>{_CHAIN})\s*")
_PART = regex(rf"(?P<first>{ID})(?:\s*{_DASH}\s*(?:{_WORD}\s*)?#?(?P<last>{ID}))?")
_SPLIT_ID = regex(r"(?P<head>.*?)(?P<number>[0-9]+)(?P<tail>[a-z]?)")
_REMARKS = regex(r"[(（][^()（）]*[)）]")  # noqa: RUF001 - likewise
_STOP = regex(
    r"(?i)\b(?:blocks|blocking|can\s+(?:run|start|be|begin)|in\s+parallel|parallel|independent|but|then|not|because"
    r"|since|so\s+that|which|before|unblocks|blocked\s+by\s+none)\b|\||\.(?:\s+(?![0-9])|\s*$)|。"
)
_REASON = regex(rf"\s+[-–—:]\s+(?!(?:{_WORD}\s*)?#?{ID})")  # noqa: RUF001 - likewise
_NONE = regex(
    r"(?i)\s*(?:none|nothing|n/?a|no(?!\w)|nil|can\s+start|-+|[–—]+|无|無|没有|なし|없음|ningun[ao]|nenhum[a]?)"  # noqa: RUF001 - likewise
    r"(?:\W.*|$)"
)
_ALL = regex(r"(?i)\b(?:all|every|everything|each)\b(?!\s+(?:of\s+)?(?:phase|wave|chunk|part|slice))")
_BEFORE = regex(r"(?i)\b(?:previous|prior|preceding|earlier|above|before|other|tasks|implementation)\b")
_LAST = regex(r"(?i)\b(?:the\s+)?(?:previous|prior|preceding)\s+(?:task|step|item)\b")
_WIDEST = 500


class Ids(dict[str, str]):
    """Ids by their names; what else those may be called is found out once."""

    @cached_property
    def known(self) -> Mapping[str, str]:
        """The ids by all that they may be called."""
        return _lookup(self)


@dataclass(frozen=True, slots=True)
class Names:
    """What there is to name: ids by their names, ids of each group by its number, and what precedes a unit."""

    ids: Mapping[str, str]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    before: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """What a text names: known ids, ids that the plan does not have, and whether it says "none"."""

    ids: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_none: bool = False

    @property
    def says(self) -> bool:
        """Whether the text says anything of units."""
        return bool(self.ids) or self.is_none


def named(text: str, names: Names) -> Named:
    """Return the units that a text names; a remark in brackets, a reason and a second sentence do not count."""
    plain = re.sub(r"[`*_\[\]]", "", text.replace("\u00a0", " ").replace("，", ",")).strip()  # noqa: RUF001 - likewise
    while (shorter := _REMARKS.sub(" ", plain)) != plain:
        plain = shorter
    if not plain.strip(" .") or _NONE.fullmatch(plain):
        return Named(is_none=bool(text.strip(" .*_`")))
    plain = _REASON.split(_STOP.split(plain, maxsplit=1)[0], maxsplit=1)[0]
    known = names.ids.known if isinstance(names.ids, Ids) else _lookup(names.ids)
    chains = [found["chain"] for found in _TASKS.finditer(plain)]
    of_groups = [found["chain"] for found in _GROUPS.finditer(plain)]
    if not chains and not of_groups and (bare := _BARE.fullmatch(plain)):
        chains = [bare["chain"]]
    if not chains and not of_groups:
        return Named(_in_words(plain, names))
    found, unknown = _resolved(chains, known)
    by_group = {key.lower(): tuple(ids) for key, ids in names.groups.items()} if of_groups else {}
    for name in _numbers(of_groups, by_group):
        found += by_group.get(name.lower(), ())
    return Named(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(unknown)))


def _in_words(plain: str, names: Names) -> tuple[str, ...]:
    """Return what `all previous tasks` and `the previous task` are."""
    if _LAST.search(plain) and not _ALL.search(plain):
        return tuple(names.before[-1:])
    return tuple(names.before) if _ALL.search(plain) and _BEFORE.search(plain) else ()


def _resolved(chains: Iterable[str], known: Mapping[str, str]) -> tuple[list[str], list[str]]:
    found: list[str] = []
    unknown: list[str] = []
    for name in _numbers(chains, known):
        other = known.get(_plain(name)) or known.get(_without_letters(name))
        if other is not None:
            found.append(other)
        else:
            unknown.append(name)
    return found, unknown


def _without_letters(name: str) -> str:
    """Return `1` of `T1` and `Task1`, which plans write for the number alone."""
    return _plain(re.sub(r"(?i)^(?:task|t)-?(?=[0-9])", "", name))


def _plain(name: str) -> str:
    """Return an id in lower case, without zeros at the start of its numbers."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", name.lower())


def _lookup(ids: Mapping[str, str]) -> Mapping[str, str]:
    """Return ids by what they may be called; an id that is a range has the name of each number in it."""
    found: dict[str, str] = {}
    for name, one in ids.items():
        found.setdefault(_plain(name), one)
    for name, one in ids.items():
        for part in (*_numbers([name], {}), name):
            found.setdefault(_plain(part), one)
            found.setdefault(_without_letters(part), one)
    return found


def _numbers(chains: Iterable[str], known: Mapping[str, object]) -> Iterator[str]:
    """Yield every id of chains such as `1, 2 and 4-6`."""
    for chain in chains:
        position = 0
        while part := _PART.search(chain, position):
            position = part.end()
            if part["last"] is None or chain.lower() in known:
                yield part["first"]
            else:
                yield from _range(part["first"], part["last"])


def _range(first: str, last: str) -> Iterator[str]:
    """Yield `1`, `2`, `3` of `1` to `3`, and `4.1`, `4.2` of `4.1` to `4.2` or `4.1` to `2`."""
    begin, end = _SPLIT_ID.fullmatch(first), _SPLIT_ID.fullmatch(last)
    width = int(end["number"]) - int(begin["number"]) if begin and end else -1
    if (
        not begin
        or not end
        or not 0 <= width <= _WIDEST
        or end["head"].lower() not in {begin["head"].lower(), ""}
    ):
        yield first
        yield last
        return
    yield first
    for number in range(int(begin["number"]) + 1, int(end["number"])):
        yield f"{begin['head']}{number}"
    if width:
        yield f"{begin['head']}{end['number']}{end['tail']}"
