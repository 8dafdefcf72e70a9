"""One script for all steps of a task, for places where each process that is started from outside costs time.

It runs the steps in order until one fails, keeps them within the task's time, and says between their output how
each went. It needs nothing but a POSIX shell and Linux's /proc; `timeout` (coreutils or busybox) where there is
a limit.
"""

import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from containers.runner import with_prompt_file
from tasks.model import Step

HOME = "/patchyard"
"""Where the script and what steps read stand in a container."""
RUN = f"{HOME}/run"
"""The file that says which run it is, and a mark of whoever runs it, after `RUN_PREFIX`."""
RUN_PREFIX = "patchyard-run:"
SCRIPT = f"{HOME}/steps"
MARK = "\x1epatchyard "
"""Begins a line of the script's own; a record separator is in no ordinary text."""
TIMED_OUT = (124, 137, 143)
"""Exit codes of `timeout` when the time is over, in all its makes."""
NEVER = {"late": None, "missing": 127, "untimed": None}
"""Why a step did not start, with the exit code that a shell would give."""

HEAD = """\
exec 2> /dev/null
limit={limit}
grace={grace}

# Hundredths of a second since the system's start; the 1 keeps a leading zero from making it octal.
now() {{ read -r up _ < /proc/uptime; now=$(( ${{up%.*}} * 100 + 1${{up#*.}} - 100 )); }}

say() {{ printf '%s%s\\n' '{mark}' "$*"; }}

step() {{
    number=$1; input=$2; shift 2
    say step "$number"
    now; from=$now
    if ! command -v "$1" > /dev/null; then say end "$number" missing "$from" "$from"; return 1; fi
    if [ -n "$limit" ]; then
        left=$(( deadline - from ))
        if [ "$left" -le 0 ]; then say end "$number" late "$from" "$from"; return 1; fi
        if ! command -v timeout > /dev/null; then say end "$number" untimed "$from" "$from"; return 1; fi
        set -- timeout -k "$grace" $(( (left + 99) / 100 )) "$@"
    fi
    "$@" < "$input" 2>&1
    code=$?
    now; late=
    if [ -n "$limit" ] && [ "$now" -ge "$deadline" ]; then late=late; fi
    say end "$number" "$code" "$from" "$now" $late
    return "$code"
}}

read -r _ PATCHYARD_RUN mark < {run}
export PATCHYARD_RUN
say run "$PATCHYARD_RUN" "$mark"
now; deadline=$(( now + ${{limit:-0}} ))
# Any user that a step turns into may make files here; who is not the owner has it so already.
chmod a+rwx .
"""


@dataclass(frozen=True, slots=True)
class Record:
    """How a step went. `exit_code` is `None` when it never started; `why` then says why, in one word."""

    exit_code: int | None
    seconds: float
    timed_out: bool = False
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What the script said: how each step went and what it printed, by its number, and in which run it ran.

    `mark` is that of whoever ran it.
    """

    run: str | None = None
    records: Mapping[int, Record] = field(default_factory=dict)
    outputs: Mapping[int, str] = field(default_factory=dict)
    mark: str | None = None

    @property
    def failed(self) -> bool:
        """Whether one of the steps did not succeed."""
        return any(record.exit_code != 0 or record.timed_out for record in self.records.values())

    def without_last(self, numbers: Collection[int]) -> "Report":
        """Return it without how the last one of these steps went that it knows of."""
        last = max((number for number in self.records if number in numbers), default=0)
        return replace(self, records={key: record for key, record in self.records.items() if key != last})


def script(
    numbered: Mapping[int, Step],
    *,
    timeout: float | None,
    grace: float,
    variables: Mapping[str, str] | None = None,
    key: str | None = None,
) -> str:
    """Return the script that runs the steps.

    Args:
        numbered: The steps by their numbers.
        timeout: How long they may take together, in seconds; `None` for no limit.
        grace: How long, in seconds, a process may take to end after TERM before it is killed.
        variables: The steps' environment, on top of what the place gives. A shell can have each of the names.
        key: Makes it another script, which no place has run yet.
    """
    head = HEAD.format(
        limit="" if timeout is None else max(1, math.ceil(100 * timeout)),
        grace=max(1, math.ceil(grace)),
        mark=MARK,
        run=RUN,
    )
    exports = [f"export {name}={shlex.quote(value)}" for name, value in (variables or {}).items()]
    calls = [f"{_call(number, step)} || exit 0" for number, step in numbered.items()]
    other = [f"# {key}"] if key else []
    return head + "".join(f"{line}\n" for line in (*other, *exports, *calls))


def inputs(numbered: Mapping[int, Step]) -> dict[str, str]:
    """Return the files that the steps read, by their paths."""
    return {_input(number): step.stdin for number, step in numbered.items() if step.stdin is not None}


def _input(number: int) -> str:
    return f"{HOME}/input-{number}"


def _call(number: int, step: Step) -> str:
    argv = with_prompt_file(step.argv, _input(number)) if step.prompt_file else step.argv
    return f"step {number} {'/dev/null' if step.stdin is None else _input(number)} {shlex.join(argv)}"


def report(output: str) -> Report:
    """Read what the script printed."""
    run = mark = None
    records: dict[int, Record] = {}
    outputs: dict[int, str] = {}
    number = 0
    for part in output.split(MARK)[1:]:
        line, _, rest = part.partition("\n")
        match line.split():
            case ["run", word, *more]:
                run, mark = word, next(iter(more), None)
            case ["step", word] if word.isdigit():
                number = int(word)
                outputs[number] = rest
            case ["end", word, *words] if word.isdigit() and (record := _record(words)):
                records[int(word)] = record
    return Report(run, records, outputs, mark)


def _record(words: list[str]) -> Record | None:
    """Read how a step ended; `None` when the script did not write that."""
    match words:
        case [why, _, _] if why in NEVER:
            return Record(NEVER[why], 0.0, timed_out=why == "late", why=why)
        case [code, start, end, *late] if code.isdigit() and start.isdigit() and end.isdigit():
            timed_out = late == ["late"] and int(code) in TIMED_OUT
            return Record(int(code), (int(end) - int(start)) / 100, timed_out)
    return None
