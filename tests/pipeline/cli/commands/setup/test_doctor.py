"""The command `doctor`: what is there, what is not, and what to do."""

from pathlib import Path

from project import Done, Project


def found(done: Done) -> dict[str, list[tuple[str, str]]]:
    by_area: dict[str, list[tuple[str, str]]] = {}
    for record in done.records:
        by_area.setdefault(record["area"], []).append((record["state"], record["text"]))
    return by_area


def program(project: Project, name: str, script: str = "") -> str:
    """Install a program, and return a PATH with it."""
    directory = project.shared / "bin"
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)
    return f"{directory}:/usr/bin:/bin"


def test_all_is_well(hosted: Project) -> None:
    path = program(hosted, "codex", "echo codex-cli 1.2.3")
    hosted.configure('agent = "codex"\n')
    shown = found(hosted.call("doctor", "--json", environ={"PATH": path, "OPENAI_API_KEY": "k"}).expect(0))

    assert {area: states[0][0] for area, states in shown.items()} == {
        **dict.fromkeys(("git", "repository", "identity", "settings", "worktrees", "agents", "agent"), "ok"),
        "sandbox": shown["sandbox"][0][0],
        "disk": shown["disk"][0][0],
        "engine": "note",
        "token": "ok",
        "github": "ok",
    }
    assert shown["agents"] == [("ok", "codex 1.2.3: OPENAI_API_KEY set")]
    assert shown["github"] == [("ok", "octo/demo accepts branches and pull requests of yours")]


def test_what_is_missing_is_named_with_what_to_do(project: Project) -> None:
    path = program(project, "gemini", "echo 0.1")
    project.configure('agent = "claude"\nworktrees = "wt"\npublish = true\nmode = "parallel"\n', trusted=False)
    shown = found(project.call("doctor", "--json", environ={"PATH": path}).expect(1))

    ((state, text),) = shown["agent"]
    assert state == "error"
    assert "the program claude is not on PATH; install it" in text
    ((state, text),) = shown["agents"]
    assert (state, text.partition("; ")[2]) == (
        "warning",
        "log in with `gemini`, or set GEMINI_API_KEY or GOOGLE_API_KEY",
    )
    assert shown["worktrees"][0][0] == "error"
    assert "name a directory elsewhere" in shown["worktrees"][0][1]
    assert any("publish = true" in text and "patchyard trust" in text for _, text in shown["trust"])
    assert shown["github"][0][0] == "error"
    assert "add it with `git remote add origin URL`" in shown["github"][0][1]

    done = project.call("doctor", environ={"PATH": path}).expect(1)
    assert "error    agent      " in done.out
    assert done.err == "3 errors to mend\n"


def test_what_the_settings_name_has_to_be_there(project: Project) -> None:
    project.configure(
        'secrets = ["SET", "UNSET"]\nbase = "nowhere"\n[worktree]\ncopy = [".env", "README.md"]\n'
    )
    shown = found(project.call("doctor", "--json", environ={"SET": "x"}).expect(1))
    assert [text.partition(";")[0] for _, text in shown["secrets"]] == [
        "secrets: the environment variable UNSET is not set"
    ]
    assert shown["base"][0][1].startswith("'nowhere' does not name a commit")
    ((state, text),) = shown["copy"]
    assert (state, text.partition(",")[0]) == ("warning", f".env is not in {project.root}")


def test_mistakes_of_the_settings_and_no_repository(project: Project, tmp_path: Path) -> None:
    project.configure("pool_size = 0\nfresh = 3\n", trusted=False)
    shown = found(project.call("doctor", "--json").expect(1))
    assert [text.rpartition("error: ")[2] for _, text in shown["settings"]] == [
        "pool_size: expected a whole number from 1 to 1000",
        "fresh: expected true or false",
    ]
    (elsewhere := tmp_path / "elsewhere").mkdir()
    shown = found(project.call("doctor", "--json", "--repo", elsewhere).expect(1))
    assert "run patchyard in one, or name one with --repo" in shown["repository"][0][1]


def test_a_token_that_may_not_push(hosted: Project) -> None:
    hosted.environ["GITHUB_TOKEN"] = ""
    hosted.environ["PATH"] = "/usr/bin:/bin"
    shown = found(hosted.call("doctor", "--json").expect(0))
    assert shown["token"][0][0] == "warning"
    assert "set GITHUB_TOKEN to one with write access" in shown["token"][0][1]
    hosted.environ["GITHUB_TOKEN"] = "wrong"
    shown = found(hosted.call("doctor", "--json").expect(1))
    assert shown["github"][0][0] == "error"
    assert "github" not in found(hosted.call("doctor", "--json", "--offline").expect(0))
