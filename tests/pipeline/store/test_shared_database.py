"""Test `--database` and `PATCHYARD_DATABASE`: the commands that use them, and that no password leaks."""

from pathlib import Path

import click
import pytest
from databases import transaction_of
from project import Project
from sqlalchemy import inspect, text

from pipeline.cli import main as cli

STORES = {
    *("run", "runs", "status", "logs", "diff", "patches", "publish", "report"),
    *("resume", "retry", "cancel", "clean", "serve", "tick", "attach", "apply", "discard"),
}
"""The commands that open the store."""
PASSWORD = "hunter2-correct-horse"


def test_all_commands_that_open_the_store_have_the_option() -> None:
    context = click.Context(cli.main)
    commands = {
        name
        for name in cli.main.list_commands(context)
        if (command := cli.main.get_command(context, name))
        and any("--database" in parameter.opts for parameter in command.params)
    }
    assert commands == STORES


def test_commands_use_the_given_database(project: Project, database: str) -> None:
    plan = project.tasks({"1.1": "echo a > a", "1.2": "echo said; exit 3"})
    option = ("--database", database)
    done = project.call("run", plan, "--json", *option).expect(1)

    assert not (project.state / "patchyard.db").exists()
    (listed,) = project.call("runs", "--json", *option).expect(0).records
    assert (listed["run"], listed["status"]) == (done.run, "failed")
    (status,) = project.call("status", "--json", *option).expect(0).records
    assert [task["status"] for task in status["tasks"]] == ["changed", "failed"]
    assert "+a" in project.call("diff", done.run, "1.1", *option).expect(0).out
    assert "said" in project.call("logs", done.run, "1.2", *option).expect(0).out
    assert done.run in project.call("report", *option).expect(0).out
    retried = project.call("retry", done.run, "--json", *option).expect(1)
    assert retried.statuses == {"1.1": "changed", "1.2": "failed"}
    project.call("clean", *option).expect(0)
    assert project.call("runs", "--json").expect(0).records == []


def test_option_overrides_the_variable(project: Project, database: str, tmp_path: Path) -> None:
    other = {"PATCHYARD_DATABASE": f"sqlite:///{tmp_path / 'other.db'}"}
    done = project.call("run", project.tasks({"1.1": "true"}), "--json", "--database", database, environ=other)
    assert project.call("runs", "--json", environ=other).expect(0).records == []
    (listed,) = project.call("runs", "--json", environ={"PATCHYARD_DATABASE": database}).expect(0).records
    assert listed["run"] == done.expect(0).run


def test_invalid_url_is_reported(project: Project) -> None:
    for arguments in (["runs"], ["run", project.tasks({"1.1": "true"})]):
        done = project.call(*arguments, "--database", f"mysql://u:{PASSWORD}@h/name").expect(2)
        assert done.err == (
            "patchyard: --database (or PATCHYARD_DATABASE) is not the URL of a database; "
            "write postgresql://user@host/name or sqlite:////absolute/path\n"
        )


@pytest.mark.postgres
@pytest.mark.parametrize("by", ["option", "variable"])
def test_password_is_not_stored_or_shown(project: Project, postgres: str, by: str) -> None:
    url = postgres.replace("tests@", f"tests:{PASSWORD}@")
    option = ("--database", url) if by == "option" else ()
    environ = {} if by == "option" else {"PATCHYARD_DATABASE": url}
    plan = project.tasks({"1.1": "env | sort > environment.txt; env; exit 0", "1.2": "env; exit 3"})

    ran = project.call("run", plan, "--json", *option, environ=environ).expect(1)
    assert "PATCHYARD_DATABASE" not in project.show("patchyard/demo/1.1:environment.txt")
    run = ran.run
    calls = (
        *(["status", "--json"], ["report"], ["report", "--format", "json"], ["logs", run, "1.1"]),
        *(["runs"], ["diff", run], ["retry", run, "1.2"], ["clean"]),
    )
    said = [ran, *(project.call(*arguments, *option, environ=environ) for arguments in calls)]

    assert [item.code for item in said] == [1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert not [item for item in said if PASSWORD in item.out + item.err]
    for place in (project.root, project.worktrees, project.shared):
        for path in place.rglob("*"):
            if path.is_file():
                assert PASSWORD.encode() not in path.read_bytes(), path
    with transaction_of(postgres) as connection:
        for table in inspect(connection).get_table_names():
            for row in connection.execute(text(f"SELECT * FROM {table}")):  # noqa: S608 - names that it has
                assert PASSWORD not in repr(row), table


@pytest.mark.postgres
def test_log_of_another_host_names_the_host(project: Project, postgres: str) -> None:
    project.clone.git("remote", "add", "origin", "https://example.org/sample.git")
    shared = {"PATCHYARD_DATABASE": postgres}
    done = project.call(
        "run", project.tasks({"1.1": "echo said"}), "--json", environ={**shared, "PATCHYARD_HOST": "one"}
    )
    log = project.state / "runs" / done.expect(0).run
    log.rename(log.with_name("elsewhere"))

    logs = project.call("logs", done.run, "1.1", environ={**shared, "PATCHYARD_HOST": "two"})

    assert logs.expect(2).err == (
        f"patchyard: task 1.1 of run {done.run} ran on host one; its log is only available there\n"
    )
