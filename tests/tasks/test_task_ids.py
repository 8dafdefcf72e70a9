"""Ids of tasks can be part of the names of files and branches."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.task_ids import as_task_id, is_task_id


@pytest.mark.parametrize("text", ["1", "1.2a", "T001", "02-01", "final", "_x", "a.lock.b", "a" * 128])
def test_ids(text: str) -> None:
    assert is_task_id(text)
    assert as_task_id(text) == text[:120]
    assert subprocess.run(["git", "check-ref-format", f"refs/heads/{text}"], check=False).returncode == 0


@pytest.mark.parametrize(
    "text", ["", "../x", "a/b", "a..b", ".a", "-x", "a.", "a.lock", "été", "a b", "a:b", "a\n", "a" * 129]
)
def test_texts_that_cannot_be_ids(text: str) -> None:
    assert not is_task_id(text)


@given(st.text(alphabet="aZ0_-. /é.lock\n", max_size=140))
def test_an_id_is_made_of_any_text(text: str) -> None:
    assert is_task_id(as_task_id(text))
    assert as_task_id(as_task_id(text)) == as_task_id(text)
