"""The environment of tasks on this machine: the user's, without what is not for them."""

import os
from collections.abc import Mapping
from pathlib import Path

from containers.runner import Job, task_variables
from tasks.secrets import without_own_secrets

LOCATIONS = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    },
)
"""Variables that direct git to another repository; `git rev-parse --local-env-vars` lists them."""


def task_environment(environ: Mapping[str, str], job: Job) -> dict[str, str]:
    """Return a task's environment: the user's, without secrets of patchyard and variables in `LOCATIONS`."""
    return user_environment(environ) | task_variables(job)


def user_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the user's environment, without secrets of patchyard and variables in `LOCATIONS`."""
    return {
        name: value
        for name, value in without_own_secrets(environ).items()
        if name not in LOCATIONS and not name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))
    }


def ceilings(environ: Mapping[str, str], worktree: Path) -> dict[str, str]:
    """Return the variable that keeps a task's git from repositories around its worktree.

    A pool may be in a directory of the user's checkout that git ignores, or in its `.git`. Without a `.git` of
    its own, as after `rm -rf .git`, or one directory up, git would use the user's. After an empty entry it
    resolves no links (https://git-scm.com/docs/git#Documentation/git.txt-GITCEILINGDIRECTORIES).
    """
    users = environ.get("GIT_CEILING_DIRECTORIES", "")
    around = os.pathsep.join(str(parent) for parent in worktree.parents)
    return {"GIT_CEILING_DIRECTORIES": f"{users}{os.pathsep}{os.pathsep}{around}"}
