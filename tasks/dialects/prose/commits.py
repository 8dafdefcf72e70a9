"""Find the message of a commit that a plan says to make."""

from tasks.lazy.patterns import regex

_COMMIT = regex(r"\bgit\b(?:[ \t]+-[cC][ \t]+\S+)*[ \t]+commit\b(?!-)")
_HEREDOC = regex(
    r"(?s)\$\(\s*cat\s*<<-?\s*(?P<quote>['\"]?)(?P<end>\w+)(?P=quote)[ \t]*\n"
    r"(?P<body>.*?)\n[ \t]*(?P=end)[ \t]*\n?\s*\)"
)
_FROM_INPUT = regex(
    r"(?s)(?:[ \t]+-{1,2}[\w-]+)*?[ \t]+(?:-F|--file)[ =]?-[^\n]*<<-?\s*"
    r"(?P<quote>['\"]?)(?P<end>\w+)(?P=quote)[ \t]*\n(?P<body>.*?)\n[ \t]*(?P=end)[ \t]*(?:\n|$)"
)
_HERE_STRING = regex(r"(?s)@(?P<quote>['\"])[ \t]*\n(?P<body>.*?)\n[ \t]*(?P=quote)@")
_OPTION = regex(r"(?:(?<=\s)-[a-zA-Z]*m|(?<=\s)--message)(?:=|[ \t]*(?:\\\n)?[ \t]*)(?=[\"'$@\w])")
_DOUBLE = regex(r'(?s)"(?P<text>(?:[^"\\]|\\.)*)"')
_SINGLE = regex(r"(?s)'(?P<text>[^']*)'")
_WORD = regex(r"[^\s;&|\"'][^\s;&|]*")
_ESCAPED = regex(r'\\(["\\$`])')
_NAMED = regex(
    r"(?i)\bcommit\b(?:\s+(?:it|this|the\s+changes?|with|as|the|a|message|using|separately))*\s*[:：]?\s*"  # noqa: RUF001 - a full-width colon, which people type
    r"`(?P<text>[a-z][\w-]{1,20}(?:\([^()`\n]*\))?!?:\s[^`\n]+)`"
)


def message_in(script: str) -> str | None:
    """Return the message of the last `git commit` of a script that has one; paragraphs are `-m` each."""
    message = None
    for found in _COMMIT.finditer(script):
        parts = _parts(script, found.end())
        if parts:
            message = "\n\n".join(parts)
    return message


def message_named(sentence: str) -> str | None:
    """Return the message of a sentence such as "Commit `feat: add a page`"."""
    found = _NAMED.findall(sentence)
    return str(found[-1]).strip() if found else None


def _parts(script: str, position: int) -> list[str]:
    """Return the messages of the `git commit` whose options begin at a position."""
    end = _end(script, position)
    if piped := _FROM_INPUT.match(script, position):
        return [_dedented(piped["body"])]
    parts: list[str] = []
    while option := _OPTION.search(script, position, end):
        text, position = _value(script, option.end())
        if text:
            parts.append(text)
        end = max(end, _end(script, position))
    return parts


def _end(script: str, position: int) -> int:
    """Return where the command ends that a position outside of quotes is in."""
    while position < len(script):
        if script[position] in "\"'":
            quoted = (_DOUBLE if script[position] == '"' else _SINGLE).match(script, position)
            position = quoted.end() if quoted else position + 1
        elif script[position] == "\\":
            position += 2
        elif script[position] in "\n;|&":
            return position
        else:
            position += 1
    return len(script)


def _value(script: str, position: int) -> tuple[str, int]:
    """Return a message, and where it ends."""
    if here := _HERE_STRING.match(script, position):
        return here["body"].strip("\n"), here.end()
    quote = 1 if script[position] == '"' else 0
    if (heredoc := _HEREDOC.match(script, position + quote)) is not None:
        return _dedented(heredoc["body"]), heredoc.end() + quote
    if found := _DOUBLE.match(script, position):
        return _ESCAPED.sub(r"\1", found["text"].replace("\\\n", "")).strip(), found.end()
    if found := _SINGLE.match(script, position):
        return found["text"].strip(), found.end()
    found = _WORD.match(script, position)
    return (found[0], found.end()) if found else ("", position + 1)


def _dedented(body: str) -> str:
    """Return the text of a here-document without the spaces that all of its lines begin with."""
    lines = body.split("\n")
    width = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[width:].rstrip() for line in lines).strip("\n")
