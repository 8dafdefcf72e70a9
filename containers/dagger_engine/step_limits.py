"""Limits of the steps in a container: a shell function that sets them, since an exec of an engine has none.

They are resource limits of each process, set by the shell's `ulimit`, and processors, by taskset (util-linux or
busybox). What cannot be set is said in the output of the step.
"""

from containers.limits.limits import Limits

UNSET = "limits that do not hold in this container"
FUNCTIONS = """\
# Adds a name to the limits that do not hold; sets a limit by the first option that the shell knows.
cannot_set() { unset="$unset${unset:+, }$1"; }
set_limit() {
    name=$1 value=$2; shift 2
    for option in "$@"; do
        if (ulimit "-$option" "$value") 2> /dev/null; then ulimit "-$option" "$value"; return; fi
    done
    cannot_set "$name (the shell cannot set it)"
}

# Sets `chosen` to the processors of the worktree's number, as taskset takes them.
choose_processors() {
    while read -r name list; do [ "$name" = Cpus_allowed_list: ] && break; done < /proc/self/status
    set --
    IFS=,
    for part in $list; do
        one=${part%-*}
        while [ "$one" -le "${part#*-}" ]; do set -- "$@" "$one"; one=$(( one + 1 )); done
    done
    unset IFS
    number=$(( (${PATCHYARD_SLOT:-1} - 1) * cpus )); end=$(( number + (cpus < $# ? cpus : $#) ))
    while [ "$number" -lt "$end" ]; do
        eval "chosen=\\$chosen\\${chosen:+,}\\${$(( number % $# + 1 ))}"
        number=$(( number + 1 ))
    done
    taskset -c "$chosen" true 2> /dev/null || { chosen=; cannot_set "cpus (its image has no taskset)"; }
}

# Runs a command within the limits.
limited() (
    chosen='' unset=''
    [ -z "$BASH_VERSION" ] || set -o posix  # otherwise its blocks of files are of 1024 bytes
    @SETTINGS
    if [ -n "$unset" ]; then printf '[@UNSET: %s]\\n' "$unset"; fi
    exec ${chosen:+taskset -c "$chosen"} "$@"
)
"""


def limiting_functions(limits: Limits) -> str:
    """Return the shell function `limited`, which runs its arguments as a command; "" without limits."""
    if not limits:
        return ""
    settings = []
    if limits.files is not None:
        settings.append(f"set_limit files {max(1, limits.files // 512)} f")  # POSIX: blocks of 512 bytes
    if limits.memory is not None:
        settings.append(f"set_limit memory {max(1, limits.memory // 1024)} d")
    if limits.processes is not None:
        refusal = 'cannot_set "processes (none for root)"'
        settings.append(
            f'if [ "$(id -u)" = 0 ]; then {refusal}; else set_limit processes {limits.processes} u p; fi'
        )
    if limits.cpus is not None:
        settings.append(f"cpus={limits.cpus}; choose_processors")
    return FUNCTIONS.replace("@SETTINGS", "\n    ".join(settings)).replace("@UNSET", UNSET)
