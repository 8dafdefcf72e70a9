"""What commands read of a run with many tasks grows with their number, and is read once."""

import subprocess
import sys

import pytest
from many_tasks import keep_run
from project import Project

COUNT = """
import os, sqlite3, sys
connect, counts = sqlite3.connect, [0, 0]
def count_row(cursor, row):
    counts[1] += 1
    return row
def count_statement(statement):
    counts[0] += statement.startswith("SELECT")
def counted(*arguments, **options):
    connection = connect(*arguments, **options)
    connection.set_trace_callback(count_statement)
    connection.row_factory = count_row
    return connection
sqlite3.connect = counted
from tasks.plan import parser
parse, plans = parser.parse, []
def counted_parse(*arguments, **options):
    plans.append(1)
    return parse(*arguments, **options)
parser.parse = counted_parse
leave = os._exit
def exit_with_counts(code):
    print(*counts, len(plans), file=sys.stderr)
    leave(code)
os._exit = exit_with_counts
from pipeline.__main__ import main
main()
"""


def count(project: Project, *arguments: str) -> tuple[int, int, int]:
    """Return the statements that a command executes, the rows that it reads, and the plans that it parses."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *arguments],
        cwd=project.root,
        env=project.clone.user.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    statements, rows, plans = map(int, done.stderr.splitlines()[-1].split())
    return statements, rows, plans


@pytest.mark.parametrize(("arguments", "most"), [("status", 2), ("status --json", 3), ("resume", 2)])
def test_rows_are_read_once(project: Project, arguments: str, most: int) -> None:
    few, many = 50, 150
    found = []
    for tasks in (few, many):
        keep_run(project, tasks)
        found.append(count(project, *arguments.split()))
    (statements, rows, plans), (more_statements, more_rows, _) = found
    assert statements == more_statements
    assert more_rows - rows <= most * (many - few) + 1  # and the id of another run
    assert plans <= 1
