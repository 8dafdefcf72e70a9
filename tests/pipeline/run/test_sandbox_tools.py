"""Tools that work needs, in the sandbox: each does there what it does outside."""

import os
import pwd
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import browsers
import pytest
from project import Project
from sandboxes import fill_home, sandbox_log, serving
from tools import PACKAGES, PYTHON, opened, require_tools, rust

FETCHED = "from another host"


def _has_name() -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwuid(os.getuid()).pw_name)
    return False


needs_name = pytest.mark.skipif(not _has_name(), reason="the user of the tests has no name on this machine")


def _lines(project: Project, script: str, *arguments: str | Path, **environ: str) -> list[str]:
    """Run a script as a task in the sandbox; return the lines of its log."""
    return sandbox_log(project, script, *map(str, arguments), **environ).splitlines()


def test_git_commits_stashes_rebases_and_has_worktrees(sandboxed: Project) -> None:
    script = """
        git switch -qc side; echo a > a; git add a; git commit -qm a; git tag -a v1 -m v1
        echo b >> README.md; git stash -q; git stash list | grep -q WIP && git stash pop -q; git commit -qam b
        git worktree add -q -b other /tmp/other HEAD~1; (cd /tmp/other; echo c > c; git add c; git commit -qm c)
        git rebase -q other; git worktree remove /tmp/other; git worktree list | wc -l
        git clone -q . /tmp/cloned; git gc -q; git repack -adq; git -C /tmp/cloned log --format=%s | cat
        git config user.note x; printf '#!/bin/sh\\necho hook ran\n' > .git/hooks/post-commit
        chmod +x .git/hooks/post-commit; git commit -q --allow-empty -m d; git fsck --strict && echo sound
    """
    lines = _lines(sandboxed, script)
    assert [line for line in lines if line in {"a", "b", "c"}] == ["b", "c", "a"]
    assert {"1", "hook ran", "sound"} <= set(lines)
    assert sandboxed.show("patchyard/demo/1:README.md").endswith("b")


@pytest.mark.parametrize("format_", ["openpgp", "ssh"])
def test_git_does_not_sign_with_keys_that_are_not_there(sandboxed: Project, format_: str) -> None:
    key = fill_home(sandboxed, {".ssh/id_ed25519": "key"}) / ".ssh/id_ed25519"
    sandboxed.clone.user.configure(commit_gpgSign="true", tag_gpgSign="true", gpg_format=format_)
    sandboxed.clone.user.configure(user_signingKey=str(key) if format_ == "ssh" else "0123456789ABCDEF")
    script = "echo a > a; git add a; git commit -qm mine; git tag -a v1 -m v1; git log -1 --format=%s:%G?"
    assert "mine:N" in _lines(sandboxed, script)


def test_pip_installs_through_the_proxy(sandboxed: Project, tmp_path: Path) -> None:
    index = tmp_path / "index"
    _wheel(index / "simple" / "greeting")
    with serving(index) as port:
        script = f"""
            {sys.executable} -m venv /tmp/venv
            /tmp/venv/bin/pip install -q --index-url http://localhost:{port}/simple greeting
            /tmp/venv/bin/python -c 'import greeting; print(greeting.TEXT)'
        """
        lines = _lines(
            sandboxed, script, "--sandbox-network", f"localhost:{port}", *opened(PYTHON, _environment())
        )
    assert "hello of a wheel" in lines


def test_pytest_runs_in_several_processes(sandboxed: Project) -> None:
    sandboxed.clone.commit({"test_x.py": "import os\ndef test_a(): pass\ndef test_b(): print(os.getpid())\n"})
    script = f"{sys.executable} -m pytest -p xdist -n 2 -p no:cacheprovider -q"
    environ = {"PYTHONPATH": str(PACKAGES), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    lines = _lines(sandboxed, script, *opened(PYTHON, _environment()), **environ)
    assert [line for line in lines if line.startswith("2 passed")]


def test_processes_share_memory(sandboxed: Project) -> None:
    script = """
python3 - <<'END'
import multiprocessing as m
from multiprocessing import shared_memory as s
def double(number): return 2 * number
if __name__ == "__main__":
    memory = s.SharedMemory(create=True, size=10); memory.buf[0] = 7
    other = s.SharedMemory(memory.name); print("shared", other.buf[0]); other.close(); memory.unlink()
    with m.get_context("fork").Pool(2) as pool: print("sum", sum(pool.map(double, range(10))))
END
"""
    assert {"shared 7", "sum 90"} <= set(_lines(sandboxed, script))


def test_npm_installs_a_package_with_its_cache(sandboxed: Project) -> None:
    require_tools("node", "npm")
    sandboxed.clone.commit(
        {
            "lib/package.json": '{"name": "lib", "version": "1.0.0", "main": "x.js", "bin": "x.js"}',
            "lib/x.js": "#!/usr/bin/env node\nconsole.log('of the package')\n",
            "package.json": '{"name": "app", "version": "1.0.0", "scripts": {"start": "lib"}}',
            ".gitignore": "node_modules\n",
        }
    )
    script = """
        (cd lib; npm pack --silent --pack-destination /tmp); npm cache add /tmp/lib-1.0.0.tgz
        npm install --silent --offline /tmp/lib-1.0.0.tgz; npm run --silent start; npm cache verify | tail -1
        node -e '
            const {Worker, isMainThread} = require("worker_threads")
            new Worker("console.log(\\"of a worker\\")", {eval: true})
            require("child_process").execSync("echo of a child", {stdio: "inherit"})'
    """
    assert {"of the package", "of a worker", "of a child"} <= set(_lines(sandboxed, script))


def test_cargo_builds_and_tests(sandboxed: Project) -> None:
    programs = rust()
    script = """
        cargo init -q --offline --name app --vcs none; mkdir -p tests
        echo '#[test] fn works() { assert_eq!(1 + 1, 2) }' > tests/t.rs
        cargo run -q --offline; cargo test -q --offline 2>&1 | grep 'test result' | tail -1; rm -rf target
    """
    environ = {"PATH": f"{programs}:{os.environ['PATH']}"}
    lines = _lines(sandboxed, script, *opened(programs.parent), **environ)
    assert "Hello, world!" in lines
    assert [line for line in lines if line.startswith("test result: ok")]


GO = {
    "go.mod": "module example.test/app\n\ngo 1.20\n",
    "main.go": 'package main\n\nimport "example.test/app/words"\n\nfunc main() { println(words.Text()) }\n',
    "words/words.go": 'package words\n\nfunc Text() string { return "of a package" }\n',
    "words/words_test.go": (
        'package words\n\nimport "testing"\n\n'
        'func TestText(t *testing.T) { if Text() != "of a package" { t.Fatal(Text()) } }\n'
    ),
    ".gitignore": "app\n",
}


@pytest.mark.timeout(300)  # the standard library is compiled for each task: its cache is empty
def test_go_builds_and_tests_a_module_without_a_network(sandboxed: Project) -> None:
    require_tools("go")
    sandboxed.clone.commit(GO)
    script = "go build -o app . && ./app 2>&1; go test ./words; ls ~/.cache/go-build | wc -l"
    environ = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    lines = _lines(sandboxed, script, "--sandbox-network", "off", **environ)
    assert "of a package" in lines
    assert [line for line in lines if line.startswith("ok")]
    assert int(lines[-2] if lines[-1].startswith("[exit") else lines[-1]) > 0


def test_make_compiles_in_parallel(sandboxed: Project) -> None:
    require_tools("make", "cc")
    sources = {f"{name}.c": f"int {name}(void) {{ return 1; }}\n" for name in ("a", "b", "c")}
    main = "int a(void), b(void), c(void);\nint main(void) { return a() + b() + c() != 3; }\n"
    rules = "app: main.o a.o b.o c.o\n\t$(CC) -o $@ $^\n"
    sandboxed.clone.commit({**sources, "main.c": main, "Makefile": rules, ".gitignore": "*.o\napp\n"})
    assert "works" in _lines(sandboxed, "make -j4 && ./app && echo works")


@pytest.mark.parametrize("network", ["on", "off"])
@pytest.mark.timeout(120)
def test_a_browser_opens_files_and_a_server_on_the_task_s_port(sandboxed: Project, network: str) -> None:
    """Chromium's own sandbox needs user namespaces, which a task cannot make."""
    browser = browsers.executable()
    if browser is None:
        pytest.skip(browsers.NONE)
    sandboxed.clone.commit({"page.html": "<p id=x></p><script>x.textContent = 6 * 7</script>"})
    options = "--headless --disable-gpu --dump-dom --no-sandbox"
    script = f"""
        {browser} {options} file://$PWD/page.html 2> /dev/null
        python3 -m http.server --bind 127.0.0.1 $PATCHYARD_PORT > /dev/null 2>&1 & sleep 1
        {browser} {options} http://127.0.0.1:$PATCHYARD_PORT/page.html 2> /dev/null
    """
    log = sandbox_log(sandboxed, script, "--sandbox-network", network)
    assert log.count('<p id="x">42</p>') == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open a socket in /run")
def test_docker_is_not_there(sandboxed: Project) -> None:
    """The client says so by itself; a daemon that would answer is not reached."""
    require_tools("curl")
    path = Path("/run/docker.sock")
    if path.exists():
        pytest.skip("there is a Docker daemon on this machine")
    with _answering(path):
        asked = ["curl", "-s", "--unix-socket", "/var/run/docker.sock", "http://docker/"]
        assert subprocess.run(asked, capture_output=True, check=True).stdout == b"reached"
        script = f"{' '.join(asked)} || echo refused; command -v docker && docker ps || true"
        lines = _lines(sandboxed, script, DOCKER_HOST="unix:///run/docker.sock")
    assert "reached" not in lines
    assert "refused" in lines
    assert [line for line in lines if "Cannot connect" in line] or "docker" not in " ".join(lines)


def test_terminals_are_opened(sandboxed: Project) -> None:
    require_tools("script")
    script = """
        script -qec 'tty; test -t 1 && echo a terminal' /dev/null | tr -d '\\r'
        python3 -c 'import pty; pty.spawn(["sh", "-c", "stty -a | head -1"])'
    """
    lines = _lines(sandboxed, script)
    assert {"/dev/pts/0", "a terminal"} <= set(lines)
    assert [line for line in lines if line.startswith("speed ")]


def test_tmux_has_a_session(sandboxed: Project) -> None:
    require_tools("tmux")
    script = """
        tmux new-session -d -s one 'echo in tmux > made; sleep 300'
        until test -s made; do sleep 0.1; done; cat made; tmux kill-session -t one
    """
    assert "in tmux" in _lines(sandboxed, script)


def test_no_program_gives_more_rights(sandboxed: Project) -> None:
    script = """
        set +e; grep -E 'NoNewPrivs|CapEff' /proc/self/status
        for command in 'sudo -n id' 'su -c id root' 'pkexec id' 'passwd -S'; do $command < /dev/null; done
        cp "$(command -v id)" /tmp/id; chmod 6755 /tmp/id; /tmp/id -u; true
    """
    lines = [line.split() for line in _lines(sandboxed, script)]
    assert ["NoNewPrivs:", "1"] in lines
    assert ["CapEff:", "0" * 16] in lines
    assert [str(os.geteuid())] in lines
    assert os.geteuid() == 0 or not [line for line in lines if line and line[0].startswith("uid=0")]


def test_long_paths_and_odd_names(sandboxed: Project) -> None:
    script = """
        name=$(printf 'n%.0s' $(seq 200)); start=$PWD
        for _ in $(seq 12); do mkdir $name; cd $name; done; echo long > file; cd $start
        printf x > "$(printf 'odd\\nname ü')"; touch -- -n
    """
    done = sandboxed.run(sandboxed.tasks({"1": script})).expect()
    files = done.outcome("1")["files"]
    assert {"/".join(["n" * 200] * 12) + "/file", "-n", "odd\nname ü"} == set(files)


def test_locale_and_time_zone_are_the_user_s(sandboxed: Project) -> None:
    script = "date -d @0 +%H:%M:%Z; locale charmap; printf 'ü' | wc -m"
    lines = _lines(sandboxed, script, TZ="Asia/Kolkata", LC_ALL="C.UTF-8")
    assert {"05:30:IST", "UTF-8", "1"} <= set(lines)


@needs_name
def test_users_have_names(sandboxed: Project) -> None:
    script = """
        python3 -c 'import pwd, os; print("name", pwd.getpwuid(os.getuid()).pw_name)'; whoami; id -un; hostname
        getent hosts localhost || true; python3 -c 'import socket; print(socket.gethostbyname("localhost"))'
    """
    lines = _lines(sandboxed, script)
    name = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert lines.count(name) == 2
    assert "127.0.0.1" in lines


@needs_name
@pytest.mark.parametrize("network", ["on", "off"])
def test_ssh_has_no_key_and_says_so(sandboxed: Project, network: str) -> None:
    require_tools("ssh")
    script = "ssh -o BatchMode=yes -p 1 git@127.0.0.1 || true; git ls-remote ssh://git@127.0.0.1:1/x || true"
    lines = _lines(sandboxed, script, "--sandbox-network", network)
    assert len([line for line in lines if "Connection refused" in line]) == 2


def test_curl_npm_and_git_fetch_through_the_proxy(sandboxed: Project, tmp_path: Path) -> None:
    require_tools("curl")
    served = tmp_path / "served"
    served.mkdir()
    (served / "file").write_text(FETCHED)
    subprocess.run(["git", "clone", "-q", "--bare", str(sandboxed.root), str(served / "repo.git")], check=True)
    subprocess.run(["git", "update-server-info"], cwd=served / "repo.git", check=True)
    with serving(served) as port:
        url = f"http://localhost:{port}"
        script = f"""
            curl -sf {url}/file; echo; git clone -q {url}/repo.git /tmp/cloned; ls /tmp/cloned
            curl -s http://example.test/; curl -sf https://example.test/ || echo not reached
            curl -s --noproxy '*' {url}/file || echo only by the proxy
        """
        lines = _lines(sandboxed, script, "--sandbox-network", f"localhost:{port}")
    assert {FETCHED, "README.md", "not reached", "only by the proxy"} <= set(lines)
    assert "the sandbox does not permit example.test:80; see sandbox_network" in lines


def _environment() -> Path:
    return Path(sys.prefix)


def _wheel(directory: Path) -> Path:
    """Write a wheel of a package `greeting`."""
    directory.mkdir(parents=True)
    path = directory / "greeting-1.0-py3-none-any.whl"
    about = "greeting-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("greeting.py", "TEXT = 'hello of a wheel'\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    return path


@contextmanager
def _answering(path: Path) -> Iterator[None]:
    """Answer HTTP requests on a socket in a file."""

    def answer() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nreached")

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink()
