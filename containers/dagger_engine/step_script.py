"""Shell script that runs all steps of a task in one exec, as each exec of a container takes over a second.

The script runs the steps in order until one fails, enforces the time limit, and prints a record of each step
between their output. It needs a POSIX shell and Linux's /proc; for a limit, `timeout` of coreutils or busybox.
"""

import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import field, replace

from containers.dagger_engine.step_limits import limiting_functions
from containers.limits.limits import UNLIMITED, Limits
from containers.runner import with_prompt_file
from tasks.lazy.dataclasses import dataclass
from tasks.model import Step

HOME = "/patchyard"
"""Directory of the script and of the steps' input in a container."""
RUN = f"{HOME}/run"
"""File with the id of the run and the mark of the runner, after `RUN_PREFIX`, and variables of each task, after
`TASK_PREFIX` and its id."""
RUN_PREFIX = "patchyard-run:"
TASK_PREFIX = "patchyard-task:"
SCRIPT = f"{HOME}/steps"
MARK = "\x1epatchyard "
"""Prefix of a record; ordinary text has no record separator (U+001E)."""
TIMED_OUT = (124, 137, 143)
"""Exit codes of `timeout` after a timeout, in all implementations."""
OUTPUT_LIMIT = 12_000_000
"""About how many bytes of the steps' output leave the container, together, besides the end of each.

An engine sends it in one answer, which takes five times its size in memory."""
CUT = "[the output is cut here, and its end follows]"
TAIL = 80_000
"""Bytes of the end of a step's output that follow in any case: what `task_log.TAIL_CHARACTERS` may have."""
NEVER = {"late": None, "missing": 127, "untimed": None}
"""Reasons why a step did not start, with the exit code that a shell would return."""

HEAD = """\
exec 2> /dev/null
limit={limit}
grace={grace}

# Hundredths of a second since the system's start; the 1 keeps a leading zero from making it octal.
now() {{ read -r up _ < /proc/uptime; now=$(( ${{up%.*}} * 100 + 1${{up#*.}} - 100 )); }}

say() {{ printf '%s%s\\n' '{mark}' "$*"; }}

# Copies an output as it comes, until it has more than {room} bytes, and then its end.
shorten() {{
    cat <&3 &
    copier=$!
    {{ while sleep 0.2 || sleep 1; do stop_after_room; done; }} < /dev/null > /dev/null &
    watcher=$!
    wait "$copier"
    kill "$watcher"
    end=$(tail -c {tail} <&3)
    if [ -n "$end" ]; then printf '\\n%s\\n%s\\n' '{cut}' "$end"; fi
}}

stop_after_room() {{
    while read -r name number; do
        if [ "$name" = wchar: ] && [ "$number" -gt {room} ]; then kill "$copier"; fi
    done < "/proc/$copier/io"
}}

{limiting}
# Runs a step with its output in a pipe. A process that the step leaves may keep the pipe open: then its
# output is waited for no longer than three seconds.
run() {{
    pipe=/dev/shm/.output-$$-$number
    if [ "$(echo xy | tail -c 2)" != y ] || ! mkfifo -m 666 "$pipe" "$pipe.end"; then
        {limited}"$@" < "$input" 2>&1
        return
    fi
    {{ shorten 3< "$pipe"; [ -p "$pipe.end" ] && echo > "$pipe.end"; }} &
    {limited}"$@" < "$input" > "$pipe" 2>&1
    code=$?
    {{ sleep 3; echo > "$pipe.end"; }} > /dev/null &
    read -r _ < "$pipe.end"
    kill "$!"
    rm -f "$pipe" "$pipe.end"
    return "$code"
}}

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
    run "$@"
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
# Any user that a step switches to may create files here; fails if the script does not own the directory.
chmod a+rwx .
# An engine would make an empty file of a socket. It gives a directory its permissions before its files, which
# only root can write then if the directory is read-only.
trap 'find . -xdev -type s -exec rm -f {{}} + -o -type d ! -perm -700 -exec chmod u+rwx {{}} \\;' EXIT
"""

OWN_VARIABLES = """\
while read -r prefix task variables; do
    if [ "$prefix" = {prefix} ] && [ "$task" = "$PATCHYARD_TASK" ]; then
        for variable in $variables; do export "$variable"; done
    fi
done < {run}
"""
"""Sets the variables of a task that are not in the script itself, since its text is part of the cache key."""


@dataclass(frozen=True, slots=True)
class Record:
    """Result of a step. `exit_code` is `None` if it never started; `why` is then a key of `NEVER`."""

    exit_code: int | None
    seconds: float
    timed_out: bool = False
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Output of the script: records and outputs by step number, and the run and mark of the runner."""

    run: str | None = None
    records: Mapping[int, Record] = field(default_factory=dict)
    outputs: Mapping[int, str] = field(default_factory=dict)
    mark: str | None = None

    @property
    def failed(self) -> bool:
        """Whether a step failed."""
        return any(record.exit_code != 0 or record.timed_out for record in self.records.values())

    def without_last(self, numbers: Collection[int]) -> "Report":
        """Return the report without the last record of these steps."""
        last = max((number for number in self.records if number in numbers), default=0)
        return replace(self, records={key: record for key, record in self.records.items() if key != last})


def script(  # noqa: PLR0913 - the parts of a script, by name
    numbered: Mapping[int, Step],
    *,
    timeout: float | None,
    grace: float,
    variables: Mapping[str, str] | None = None,
    key: str | None = None,
    output_limit: int = OUTPUT_LIMIT,
    limits: Limits = UNLIMITED,
) -> str:
    """Return the script that runs the steps.

    Args:
        numbered: The steps by their numbers.
        timeout: How long they may take together, in seconds; `None` for no limit.
        grace: How long, in seconds, a process may take to exit after SIGTERM before it is killed.
        variables: Environment of the steps, added to that of the container; names that a shell accepts.
        key: Makes the script differ from all others, so that it is not a cache hit.
        output_limit: About how many bytes of the steps' output are printed, besides their ends.
        limits: What each process of the steps may take.
    """
    limiting = limiting_functions(limits)
    head = HEAD.format(
        limit="" if timeout is None else max(1, math.ceil(100 * timeout)),
        grace=max(1, math.ceil(grace)),
        mark=MARK,
        run=RUN,
        room=output_limit // max(1, len(numbered)),
        tail=TAIL,
        cut=CUT,
        limiting=limiting,
        limited="limited " if limiting else "",
    )
    exports = [f"export {name}={shlex.quote(value)}" for name, value in (variables or {}).items()]
    calls = [f"{_call(number, step)} || exit 0" for number, step in numbered.items()]
    other = [f"# {key}"] if key else []
    own = OWN_VARIABLES.format(prefix=TASK_PREFIX, run=RUN)
    return "".join([head, *(f"{line}\n" for line in (*other, *exports)), own, *(f"{line}\n" for line in calls)])


def run_line(run: str, mark: str) -> str:
    """Return the first line of the file `RUN`."""
    return f"{RUN_PREFIX} {run} {mark}\n"


def task_line(task: str, variables: Mapping[str, str]) -> str:
    """Return the line of a task in the file `RUN`; values of variables have no spaces."""
    return f"{TASK_PREFIX} {task} {' '.join(f'{name}={value}' for name, value in variables.items())}\n"


def inputs(numbered: Mapping[int, Step]) -> dict[str, str]:
    """Return the content of the steps' input files, by path."""
    return {_input(number): step.stdin for number, step in numbered.items() if step.stdin is not None}


def _input(number: int) -> str:
    return f"{HOME}/input-{number}"


def _call(number: int, step: Step) -> str:
    argv = with_prompt_file(step.argv, _input(number)) if step.prompt_file else step.argv
    return f"step {number} {'/dev/null' if step.stdin is None else _input(number)} {shlex.join(argv)}"


def report(output: str) -> Report:
    """Parse the output of the script."""
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
    """Parse the record of a step's end; `None` if it is not valid."""
    match words:
        case [why, _, _] if why in NEVER:
            return Record(NEVER[why], 0.0, timed_out=why == "late", why=why)
        case [code, start, end, *late] if code.isdigit() and start.isdigit() and end.isdigit():
            timed_out = late == ["late"] and int(code) in TIMED_OUT
            return Record(int(code), (int(end) - int(start)) / 100, timed_out)
    return None
