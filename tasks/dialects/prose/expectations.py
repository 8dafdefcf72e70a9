"""Read what a plan expects of a command: that it succeeds, that it fails, or neither."""

from enum import StrEnum

from tasks.lazy.patterns import regex


class Outcome(StrEnum):
    """What a text says of how a command ends."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNCLEAR = "unclear"


_REMARKS = regex(r"[(（][^()（）]*[)）]")  # noqa: RUF001 - full-width brackets, which people type
_SENTENCE = regex(r"(?<=[.!。])[\s`*_]+(?=[A-Z`\"'*(])|\n\s*\n|。")
_NOTHING_WRONG = regex(
    r"(?ix)\b(?:no|zero|0|without|without\s+any)\s+(?:[\w`/.-]+\s+){0,3}?"
    r"(?:errors?|failures?|failed|failing|fails?|warnings?|issues?|problems?|regressions?|findings?|violations?"
    r"|differences?|diffs?|complaints?|output|matches|hits|exceptions?)\b"
    r"|\bnothing\s+(?:is\s+)?(?:printed|reported)\b|\bprints?\s+nothing\b|\b(?:errors?|failures?|failed)\s*[:=]\s*0\b"
    r"|(?:无|没有)\s*(?:任何\s*)?(?:错误|报错|输出|errors?|warnings?)"
)
_SILENT = regex(r"(?i)\b(?:no|zero|0|without|empty)\s+(?:output|matches|match|hits|results?|lines)\b|nothing")
_NOT_YET = regex(
    r"(?i)(?:\bnot|n't|\bnever|\bcannot)\s+(?:yet\s+)?(?:pass|compile|succeed|build|be\s+green)\w*"
)
_SUCCESS = regex(
    r"(?ix)\bpass(?:es|ed|ing)?\b|\bsucceed(?:s|ed|ing)?\b|\bsuccess(?:es|ful|fully)?\b|\bgreen\b|\bclean(?:ly)?\b"
    r"|\bcompiles?\b|\bok\b|\bexits?(?:\s+with)?(?:\s+(?:status|code))?\s*[:=]?\s*`?0\b|\ball\s+good\b"
    r"|[✅✓✔]|通过|成功|合格"
)
_FAILS = regex(r"(?i)\bfail(?:s|ed|ing|ures?)?\b|❌|✗|失败")
_WRONG = regex(
    r"(?i)\b\w*(?:errors?|exceptions?)\b|\bred\b|\bnot\s+found\b|\bcannot\s+find\b|\bunresolved\b|\bundefined\b"
    r"|\bdoes(?:n't|\s+not)\b|\bmissing\b|\bexits?(?:\s+with)?(?:\s+code)?\s+[1-9]|\bnon-?zero\b|报错"
)
_FORMER = regex(r"(?i)\b(?:previously|formerly|once|before|the)[\s-]+(?:\w+[\s-]+)?(?:fail(?:ed|ing)|red)\b")


def outcome_of(text: str) -> Outcome:
    """Return what the first sentence of a text says, without what is in brackets."""
    sentence = _SENTENCE.split(text.strip(), maxsplit=1)[0].replace("\u00a0", " ")
    sentence = _REMARKS.sub(" ", sentence) if _REMARKS.sub("", sentence).strip(" .`*") else sentence
    rest = _FORMER.sub(" ", _NOTHING_WRONG.sub(" \x00 ", sentence))
    rest = _NOT_YET.sub(" FAIL ", rest)
    good = _SUCCESS.search(rest)
    if _FAILS.search(rest):
        return Outcome.FAILURE
    first = good.start() if good else len(rest)
    first = min(first, rest.find("\x00") if "\x00" in rest else len(rest))
    wrong = _WRONG.search(rest)
    if wrong and wrong.start() < first:
        return Outcome.FAILURE
    return Outcome.SUCCESS if first < len(rest) else Outcome.UNCLEAR


def is_silent(text: str) -> bool:
    """Whether a text expects that a command prints nothing."""
    return bool(_SILENT.search(_SENTENCE.split(text.strip(), maxsplit=1)[0]))
