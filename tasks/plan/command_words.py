"""Word lists that distinguish a command without backticks from a sentence."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _tools(text: str) -> dict[str, frozenset[str]]:
    """Return sub-commands by program, from lines of `program program: word word`."""
    lines = (line.partition(":") for line in text.strip().splitlines())
    return {tool: _words(subs) for tools, _, subs in lines for tool in tools.split()}


TOOLS = _tools("""
git: add apply bisect blame branch checkout cherry-pick clone commit diff fetch fsck grep init log
git-lfs: fetch install ls-files pull push track
npm pnpm yarn bun: add audit build check ci dev exec format install lint ls pack run start test typecheck
cargo: bench build check clean clippy doc fmt install nextest run test tree update
go: build clean doc env fmt generate get install list mod run test tool version vet work
docker podman: build compose exec images inspect logs ps pull push run start stop version
docker-compose: build down logs ps pull run up
uv poetry pdm hatch pipenv: add build check install lint lock pip publish run shell sync test tool tree venv
pip pip3 pipx: check freeze install list run show uninstall
ruff: check format
make: all bench build check ci clean coverage demo deps dist docs fmt format install lint run start test
just task rake nox tox gradle mvn ant: build check ci clean compile install lint package test verify
kubectl: apply delete describe diff exec get kustomize logs rollout
helm: install lint list package status template test upgrade
terraform tofu: apply fmt init output plan show test validate
dotnet: build format publish restore run test
swift mix zig dart flutter deno bazel: analyze bench build check compile fmt format lint run test
bundle rails: console db exec install server test
gh dagger: api auth call check functions issue pr release repo run version workflow
pre-commit: autoupdate install run
""")
"""Programs whose first argument is one of these words, unless it is an option or a path."""

TOOLS["git"] |= _words(
    "ls-files merge mv pull push rebase reset restore revert rm show stash status switch tag worktree"
)

PROGRAMS = _words("""
awk bandit bash black cat cd chmod cmake coverage ctest curl dig echo egrep eslint fgrep flake8 gcc
clang grep hadolint isort jest jq ls lint-imports markdownlint mocha mypy ninja npx openssl phpunit
ping pnpx prettier printf psql pwd pylint pyright pytest rg rspec rsync rubocop sed sh shellcheck
shfmt sqlite3 ssh stylelint tar tsc uvx vitest wget xargs yamllint yq zsh
""")
"""Programs that accept any arguments."""

NEED_EVIDENCE = _words("""
chown cmp comm cp cut date diff file find head install java join kill ln mkdir mv node perl php
python python3 rm ruby rustc rmdir sha256sum sort split stat tail tee touch tr tree uniq wc which
zip
""")
"""Programs whose names are words too, or that do nothing useful alone: an option or a path must follow."""

WRAPPERS = _words("! sudo env exec nohup time xvfb-run")
"""Programs that run the command in their arguments."""

PROSE = _words("""
the is are was were be been it its that this these those there with without and or but not no nor
any every each both either only still also exactly as of into onto from to on in over under
after before when while if then than should must shall can could will would may might has have had
does did pass passes passed passing fails failed failing succeeds succeed succeeded works worked
working exists exist existing returns returned shows shown prints printed outputs contains contain
includes produces gives yields exits runs completes compiles builds loads starts renders matches
equals remains stays reports finds lists appears correctly successfully properly cleanly sure you
your we our they their
""")
"""Words of an English sentence. One of them outside of quotes makes a text prose."""

DETERMINERS = _words("a an all")
"""Words of a sentence when another word follows: `touch a` names a file."""

STATES = _words("clean green strict happy ok okay output results result errors warnings coverage")
"""Words that say how a program ends rather than name what it works on."""
