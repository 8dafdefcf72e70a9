"""What the agent of a task was given is beside its log."""

from pathlib import Path

from project import Project

from pipeline.run.recording.prompts import keep_prompt, read_prompts


def test_prompts_are_read_by_round(tmp_path: Path) -> None:
    first, second = tmp_path / "runs" / "1.1.log", tmp_path / "runs" / "1.1.attempt-2.log"
    keep_prompt(first, 1, "do it")
    keep_prompt(first, 3, "do it, \udce9 again")
    keep_prompt(second, 1, "another")

    assert read_prompts(first) == {1: "do it", 3: "do it, ? again"}
    assert read_prompts(second) == {1: "another"}
    assert read_prompts(tmp_path / "runs" / "1.2.log") == {}


def test_prompt_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    keep_prompt(tmp_path / "runs" / "1.1.log", 1, "do it")
    (tmp_path / "1.1.prompt.md").mkdir()
    assert read_prompts(tmp_path / "1.1.log") == {}


def test_prompt_has_no_secret_and_a_task_of_commands_has_none(project: Project) -> None:
    project.environ["MY_KEY"] = "s3cret-value"
    project.configure('secrets = ["MY_KEY"]\n')
    text = "# Demo\n\n### Task 1.1: A\n**Agent:** cat > given\nUse s3cret-value.\n\n"
    text += "### Task 1.2: B\n**Run:** `true`\n"
    done = project.run(project.plan(text))
    given = project.call("logs", done.run, "1.1", "--prompt").expect(0).out
    assert "# Task 1.1: A" in given
    assert "s3cret-value" not in given
    none = project.call("logs", done.run, "1.2", "--prompt").expect(2).err
    assert none.startswith(f"patchyard: task 1.2 of run {done.run} has no prompt: ")
