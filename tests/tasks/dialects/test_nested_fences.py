"""Fences of Markdown that hold fences, as plans that show documents write them."""

from tasks.dialects.outline import outline


def headings(text: str) -> list[str]:
    return [heading.text for heading in outline(text).headings]


def test_a_fence_with_a_language_may_be_inside() -> None:
    assert headings("```markdown\n# a\n```bash\nx\n```\n## b\n```\n\n# real\n") == ["real"]
    assert headings("- [ ] s\n\n  ```md\n  # a\n  ```sh\n  x\n  ```\n  # b\n  ```\n\n# real\n") == ["real"]


def test_a_fence_without_a_language_may_be_inside_if_another_is() -> None:
    text = "```markdown\n```sh\nx\n```\n# a\n```\ny\n```\n# b\n```\n\n**Step 2: z**\n\n# real\n"
    assert headings(text) == ["real"]


def test_a_step_or_a_task_ends_what_is_shown() -> None:
    text = "```markdown\n```sh\nx\n```\n# a\n```\n\nThen go.\n\n### Task 2: b\n\n```\ny\n```\n"
    assert headings(text) == ["Task 2: b"]


def test_longer_fences_and_other_languages_are_read_as_they_are() -> None:
    assert headings("````markdown\n# a\n```bash\nx\n```\n## b\n````\n\n# real\n") == ["real"]
    assert headings("```md\n# a\n```\n\n# real\n```bash\nx\n```\n# more\n") == ["real", "more"]
    assert headings("```md\n# a\n     ```bash\n     ```\n```\n\n# real\n") == ["real"]
    assert headings("```py\n# a\n```bash\nx\n```\n# real\n") == ["real"]


def test_a_fence_that_is_never_closed() -> None:
    assert outline("a\n\n```py\nx\n").open_fence == 2
    assert outline("```markdown\n# a\n```bash\nx\n# b\n").open_fence == 0
    assert outline("```py\nx\n```\n").open_fence is None
    assert outline("```py\nx\n```\n\nmore\n").open_fence is None
    assert outline("no fence\n\n    code\n").open_fence is None
    assert outline("").open_fence is None
