"""Settings that come with a repository, on the real command: refused, trusted, remembered."""

from project import Project, one_sentence
from served import Serving

GIVEN = {"API_KEY": "s3cr3t-value"}
FILE = 'secrets = ["API_KEY"]\n'
SCRIPT = {"1": 'printf "%s" "${#API_KEY}" > size; [ -z "$WAIT" ] || exit 3'}


def test_settings_of_a_repository_need_trust_that_is_remembered_by_content(project: Project) -> None:
    project.configure(FILE, trusted=False)
    plan = project.tasks(SCRIPT)

    refused = one_sentence(project.call("run", plan, environ=GIVEN))
    assert refused == (
        'the repository may not set this without your trust: secrets = ["API_KEY"], '
        f"in {project.root}/patchyard.toml; review it, then run `patchyard trust {plan}`, "
        "or use --trust or PATCHYARD_TRUST=1 to trust it once"
    )
    assert not project.worktrees.exists()
    assert one_sentence(project.call("run", plan, "--dry-run", environ=GIVEN)) == refused

    said = project.call("trust", plan).expect(0)
    assert said.out == f'trusted: secrets = ["API_KEY"], in {project.root}/patchyard.toml\n'
    done = project.run(plan, environ=GIVEN).expect(0)
    assert said.out in done.err
    assert project.show(f"{done.outcome('1')['branch']}:size") == "12"

    project.configure('secrets = ["API_KEY", "OTHER"]\n', trusted=False)
    assert '["API_KEY", "OTHER"]' in one_sentence(project.call("run", plan, environ=GIVEN))
    project.configure(FILE, trusted=False)
    project.call("trust", "--revoke").expect(0)
    assert one_sentence(project.call("run", plan, environ=GIVEN)) == refused
    assert (
        project.call("trust", environ={"PATCHYARD_SECRETS": "API_KEY"}).out == "no setting here needs trust\n"
    )


def test_flag_trusts_once_and_for_the_resumption_of_its_run(project: Project) -> None:
    project.configure(FILE, trusted=False)
    plan = project.tasks(SCRIPT)

    done = project.run(plan, "--trust", environ={**GIVEN, "WAIT": "1"}).expect(1)
    project.call("retry", done.run, environ=GIVEN).expect(0)
    one_sentence(project.call("run", plan, environ=GIVEN))

    project.configure('secrets = ["API_KEY", "HOME"]\n', trusted=False)
    assert "without your trust" in one_sentence(project.call("retry", done.run, "1", environ=GIVEN))


def test_agents_of_a_plan_need_trust(project: Project) -> None:
    plan = project.plan("---\nagents:\n  mine: touch x\n---\n# P\n### Task 1: A\n**Agent:** mine\n")

    assert 'agents.mine = "touch x"' in one_sentence(project.call("run", plan))
    project.call("trust", plan).expect(0)
    project.run(plan).expect(0)


def test_check_shows_what_needs_trust(project: Project) -> None:
    project.configure('remote = "other"\n', trusted=False)
    plan = project.tasks(SCRIPT)

    done = project.call("check", plan).expect(0)
    assert (
        f'needs trust: remote = "other", in {project.root}/patchyard.toml (`patchyard trust {plan}`' in done.err
    )
    (grant,) = project.call("check", plan, "--json").events("grant")
    assert (grant["setting"], grant["value"], grant["trusted"]) == ("remote", "other", False)
    project.call("trust").expect(0)
    (grant,) = project.call("check", plan, "--json").events("grant")
    assert grant["trusted"] is True
    assert "trusted: remote" in project.call("check", plan).out


def test_pool_elsewhere_is_not_cleaned_without_trust(project: Project) -> None:
    project.configure('worktrees = "../elsewhere"\n', trusted=False)
    assert "worktrees = " in one_sentence(project.call("clean"))
    project.call("clean", "--worktrees", project.worktrees).expect(0)


def test_engine_of_a_repository_is_not_called_without_trust(project: Project) -> None:
    project.configure('engines = ["tcp://127.0.0.1:9"]\n', trusted=False)
    assert "engines = " in one_sentence(project.call("lock"))


def test_server_refuses_what_is_not_trusted(project: Project) -> None:
    project.configure(FILE, trusted=False)
    plan = project.tasks(SCRIPT)
    with Serving(project, ["--root", project.root, "--root", project.plans], GIVEN) as server:
        answer = server.post("/start", 422, json={"plan_path": str(plan), "trust": True})
        assert "trust" in answer.text
        answer = server.post("/start", 422, json={"plan_path": str(plan)})
        assert "without your trust" in answer.text
        project.call("trust").expect(0)
        server.wait(server.start(plan), "complete")
