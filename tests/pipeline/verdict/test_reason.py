"""The line of a failed task's output that says why."""

import pytest

from pipeline.verdict.reason import failing_line

SENTENCE = "verify step 2 `pytest -q` ended with exit code 1"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("one\ntwo\n\n", "two"),
        ("", SENTENCE),
        ("---\n===\n\n", SENTENCE),
        ("AssertionError: 1 != 2\n=== 1 failed in 0.3s ===", "AssertionError: 1 != 2"),
        (
            "E   assert 1 == 2\nFAILED tests/test_a.py::test_x - assert 1 == 2\n1 failed in 0.1s",
            "FAILED tests/test_a.py::test_x - assert 1 == 2",
        ),
        (
            "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'\nmade 3 files",
            "KeyError: 'x'",
        ),
        ("subprocess.CalledProcessError: no", "subprocess.CalledProcessError: no"),
        ("fatal: not a git repository\nhint: see above", "fatal: not a git repository"),
        ("sh: 1: nothing: command not found\nmake: leaving", "sh: 1: nothing: command not found"),
        (
            "--- FAIL: TestSum (0.00s)\n    sum_test.go:9: got 3\nFAIL\nexit status 1\nFAIL\tdemo\t0.002s",
            "--- FAIL: TestSum (0.00s)",
        ),
        (
            "src/a.ts(3,1): error TS2304: Cannot find name 'x'.\ndone",
            "src/a.ts(3,1): error TS2304: Cannot find name 'x'.",
        ),
        ("\x1b[31mError:\x1b[0m no such table\r\nbye", "Error: no such table"),
        ("10 %\r50 %\r100 %", "100 %"),
        ("Not logged in · Please run /login\n", "Not logged in · Please run /login"),
        ("I could not do it.\n\n[the agent used $0.0132, 2,000 tokens in]", "I could not do it."),
        ("a\x07b\u202ec", "a<U+0007>b<U+202E>c"),
    ],
)
def test_line_that_says_why_is_found(output: str, expected: str) -> None:
    assert failing_line(f"{SENTENCE}\n{output}") == expected


def test_line_is_cut() -> None:
    line = failing_line(f"{SENTENCE}\n{'x' * 500}", width=20)
    assert line == "x" * 19 + "…"


def test_no_error_has_no_line() -> None:
    assert failing_line(None) == failing_line("") == ""
