"""The same plan in every mode leaves the same patches, byte for byte."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import engine_access
import pytest
from project import Project
from repositories import Clone, User, make_repository

from pipeline.store import Store
from tasks.model import Patch

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

MODES = ("local", "parallel", "dagger")
PATIENCE = 800
FILES: Mapping[str, str | bytes] = {
    "README.md": "# Sample\n\nA line.\n",
    "run.sh": "#!/bin/sh\n",
    "src/app.py": "print('app')\n",
    "src/lib/util.py": "x = 1\n",
    "docs/a b\nü.txt": "odd\n",
    "docs/-dash": "odd\n",
    'docs/"quoted" *?[x]\\': "odd\n",
    "crlf.dat": "one\r\ntwo\r\n",
    "blob.bin": bytes(range(256)),
    "empty": "",
    "forced/kept.log": "tracked, although ignored\n",
    "forced/build/kept": "tracked, although ignored\n",
    "outside/file": "led to by a link\n",
    ".gitignore": "*.log\nbuild/\nnode_modules/\n",
    "src/.gitignore": "*.tmp\n!keep.tmp\n",
}
SCRIPTS = {
    "nothing": "true",
    "adds": "mkdir -p new/deep; echo n > new/deep/file; echo n > src/new; printf 'no newline' > end",
    "edits": "echo more >> README.md; echo 'x = 2' > src/lib/util.py; printf '\\0\\1' >> blob.bin",
    "deletes": "rm -r README.md src/lib docs",
    "deletes everything": "rm -rf * .gitignore",
    "renames": "mv README.md READ.md; git mv src/app.py src/lib/program.py; mv docs papers",
    "renames by case": "mv README.md readme.md; mv src SRC",
    "modes": "chmod 755 README.md; chmod 644 run.sh; chmod 600 empty; echo x > tool; chmod 755 tool",
    "files that nobody may read": "echo secret >> README.md; chmod 000 README.md; mkdir d; echo x > d/x; chmod 500 d",
    "times set back": (
        "touch -r README.md /tmp/time$PATCHYARD_TASK; echo '# Samplf' > r; tail -n +2 README.md >> r; "
        "cat r > README.md; rm r; touch -r /tmp/time$PATCHYARD_TASK README.md"
    ),
    "touched, and no more": "touch README.md src/app.py; chmod u+w README.md",
    "links": (
        "ln -s nowhere dangling; ln -s src directory; ln -s /etc/passwd absolute; ln -s ../outside up; "
        "ln -s 'odd name' src/odd; mkdir e; ln -s ../README.md e/readme"
    ),
    "links made something else": (
        "rm link; echo file > link; rm link-to-directory; mkdir link-to-directory; "
        "echo f > link-to-directory/f; ln -sfn src/lib moved-link; ls outside > listed"
    ),
    "something else made links": (
        "rm README.md; ln -s run.sh README.md; rm -r src; ln -s outside src; rm -r docs; ln -s /etc docs"
    ),
    "files made directories": "rm README.md; mkdir README.md; echo f > README.md/f; rm -r src; echo f > src",
    "names": (
        "echo 1 > 'a b'; echo 1 > \"$(printf 'new\\nline')\"; echo 1 > \"$(printf '\\303\\274n\\303\\257')\"; "
        "echo 1 > -- -dash; echo 1 > '\"q\"'; echo 1 > \"it's\"; echo 1 > '*'; echo 1 > 'a\\b'; echo 1 > ' '; "
        "mkdir -p 'd d/[x]'; echo 1 > 'd d/[x]/#'; echo 1 > ':colon'; echo 1 > '!bang'; echo 1 > '~'"
    ),
    "names edited and deleted": "cd docs; echo more >> ./-dash; rm 'a b'* '\"quoted\" *?[x]\\'",
    "names that are not UTF-8": "echo 1 > \"$(printf '\\377\\376')\"; echo 1 > \"$(printf 'd\\351j\\340')\"",
    "latin names edited": 'for f in latin/e*; do echo more >> "$f"; done; rm latin/g*',
    "commits": "echo 1 > one; git add -A; git commit -qm one; echo 2 >> one; git commit -qam two; echo 3 > three",
    "a commit taken back": "echo 1 > one; git add -A; git commit -qm one; git rm -q one; rm README.md; git commit -qam no",
    "another branch": "git checkout -q -b topic-$PATCHYARD_RUN; echo 1 > one; git add one; git commit -qm one; git checkout -q --detach",
    "an index of its own": "echo 1 > one; echo 2 > two; git add one; git rm -q --cached README.md; rm -f src/app.py",
    "ignored files": "mkdir -p build/deep src/build; echo x > build/deep/x; echo x > src/build/x; echo x > a.log; echo n > n",
    "ignored files, forced": "echo x > a.log; git add -f a.log; git commit -qm forced; echo y > b",
    "tracked files that are ignored": "echo more >> forced/kept.log; rm forced/build/kept; echo x > forced/other.log",
    "rules that ignore what is tracked": "echo '*.md' >> .gitignore; echo 'src/' >> .gitignore; echo m >> README.md; echo n > n.md",
    "rules that ignore less": "echo '*.bak' > .gitignore; echo x > a.log; mkdir build; echo x > build/x; echo x > a.bak",
    "no rules any more": "rm .gitignore src/.gitignore; echo x > a.log; echo x > src/a.tmp",
    "rules below": (
        "echo x > src/a.tmp; echo x > src/keep.tmp; echo x > a.tmp; mkdir -p web/node_modules/m; "
        "echo '{}' > web/package.json; echo x > web/node_modules/m/index.js; "
        "printf '/dist\\n!/dist/keep\\n' > web/.gitignore; mkdir web/dist; echo x > web/dist/x; echo x > web/dist/keep"
    ),
    "many ignored files": (
        "i=0; while [ $i -lt 3000 ]; do mkdir -p node_modules/$((i % 50)); echo $i > node_modules/$((i % 50))/$i; "
        "i=$((i + 1)); done; echo n > n"
    ),
    "many files": "mkdir many; i=0; while [ $i -lt 1500 ]; do echo $i > many/$i; i=$((i + 1)); done",
    "empty directories": "mkdir -p e/f/g src/e; rm outside/file",
    "empty files": ": > none; : > README.md; mkdir d; : > d/none",
    "line ends": "printf 'a\\r\\nb\\n' > mixed; printf 'one\\ntwo\\n' > crlf.dat; printf 'a\\rb' > mac",
    "attributes": "echo '*.txt text eol=crlf' > .gitattributes; printf 'a\\nb\\n' > new.txt; echo more >> README.md",
    "a nested repository": "git init -q n; echo f > n/f; git -C n add f; git -C n commit -qm n; git init -q m; echo f > m/f",
    "a nested repository over tracked files": "git init -q src; git -C src add -A; git -C src commit -qm n; echo x > src/x",
    "no .git": "rm -rf .git; echo more >> README.md",
    "a repository in place of .git": "rm -rf .git; git init -q; git add -A; git commit -qm own; echo more >> README.md",
    "a link in place of .git": "rm -rf .git; ln -s /etc .git; echo more >> README.md",
    "a big file": "yes 'a line of text' | head -c 20000000 > big; dd if=/dev/zero of=zeros bs=1M count=8 2> /dev/null",
    "hard links": "echo x > one; ln one two; ln README.md other",
    "a failure after changes": "echo more >> README.md; echo n > n; exit 3",
    "a signal after changes": "echo more >> README.md; kill -TERM $$",
}


@dataclass(frozen=True)
class Compared:
    """What each mode left: the patches of all tasks, by what the task did."""

    patches: Mapping[str, Mapping[str, Patch | None]]


def furnish(clone: Clone) -> None:
    """Add what files alone cannot say, and what git ignores."""
    (clone.path / "run.sh").chmod(0o755)
    (clone.path / "link").symlink_to("README.md")
    (clone.path / "link-to-directory").symlink_to("outside")
    (clone.path / "moved-link").symlink_to("nowhere")
    latin = os.fsencode(clone.path / "latin")
    os.mkdir(latin)
    for name in (b"e\xe9", b"g\xe0\xff"):
        Path(os.fsdecode(latin + b"/" + name)).write_text("latin\n")
    clone.git("add", "-A", "-f")
    clone.git("commit", "-q", "-m", "furnished")


def compare(clone: Clone, scripts: Mapping[str, str], image: str) -> Compared:
    """Run a task for each script in every mode, from the same commit."""
    project = Project(clone, engine_access.variables(os.environ))
    plan = project.tasks({f"1.{number}": script for number, script in enumerate(scripts.values(), 1)})
    found: dict[str, dict[str, Patch | None]] = {}
    for mode in MODES:
        flags = ("--mode", mode, "--branch", f"{mode}/{{task}}", "--pool-size", "4", "--image", image)
        done = project.call("run", plan, "--json", *flags, patience=PATIENCE)
        assert done.code in {0, 1}, done
        with Store.beside(project.state.parent) as store:
            outcomes = {task.outcome.task: task.outcome for task in store.tasks(done.run)}
        for number, name in enumerate(scripts, 1):
            outcome = outcomes[f"1.{number}"]
            assert outcome.worktree, outcome
            assert (outcome.exit_code != 0) == name.endswith(" after changes"), outcome
            found.setdefault(name, {})[mode] = outcome.patch
    return Compared(found)


@pytest.fixture(scope="module")
def compared(
    engine_obstacle: str | None, tmp_path_factory: pytest.TempPathFactory, test_image: str
) -> Compared:
    if engine_obstacle:
        return Compared({})
    directory = tmp_path_factory.mktemp("patches")
    clone = make_repository(User.at(directory / "user"), directory / "repo", FILES)
    furnish(clone)
    return compare(clone, SCRIPTS, test_image)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_patch_is_the_same_wherever_it_was_made(compared: Compared, name: str) -> None:
    patches = compared.patches[name]
    assert (patches["local"] is None) == (name in {"nothing", "touched, and no more"})
    for mode in MODES[1:]:
        assert patches[mode] == patches["local"], mode
