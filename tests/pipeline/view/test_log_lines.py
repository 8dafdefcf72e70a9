"""Lines of logs with their times, alone and together."""

import time
from pathlib import Path

from containers.line_times import RESOLUTION, LineTimes, times_path
from pipeline.view.log_lines import TimedLog, in_order


def write(log: Path, *parts: tuple[int, bytes]) -> None:
    """Append parts to a log, each written at a time in milliseconds."""
    for moment, data in parts:
        size = log.stat().st_size if log.exists() else 0
        with times_path(log).open("ab") as times:
            times.write(b"%d %d\n" % (size, moment))
        with log.open("ab") as file:
            file.write(data)


def test_a_line_has_the_time_at_which_it_began(tmp_path: Path) -> None:
    log = tmp_path / "1.1.log"
    write(log, (1000, b"one\ntw"), (2000, b"o\n"), (3000, b"three"))
    reader = TimedLog("1.1", log)

    assert [(line.at, line.data) for line in reader.lines()] == [(1000, b"one"), (1000, b"two")]
    write(log, (4000, b"!\nfour\n"))
    assert [(line.at, line.data) for line in reader.lines()] == [(3000, b"three!"), (4000, b"four")]
    write(log, (5000, b"end"))
    assert [(line.at, line.data) for line in reader.lines(is_last=True)] == [(5000, b"end")]


def test_lines_of_several_logs_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.log" for name in "abc")
    write(first, (1000, b"a1\na2\n"), (4000, b"a3\n"))
    write(second, (2000, b"b1\n"), (5000, b"b2\n"))
    third.write_bytes(b"c1\nc2\n")  # of a release without times

    logs = [TimedLog("a", first), TimedLog("b", second), TimedLog("c", third, 3000)]
    lines = list(in_order([*logs, TimedLog("d", tmp_path / "missing")], is_last=True))

    assert [line.data.decode() for line in lines] == ["a1", "a2", "b1", "c1", "c2", "a3", "b2"]
    assert [bool(line.time) for line in lines] == [True, True, True, False, False, True, True]
    assert lines[0].time.endswith(":01.000")


def test_a_broken_file_of_times_loses_only_times(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    log.write_bytes(b"one\ntwo\n")
    times_path(log).write_bytes(b"\xff\n0 1000\nx y\n4 ")

    assert [line.at for line in TimedLog("1", log).lines(is_last=True)] == [1000, 1000]


def test_what_is_written_at_once_has_one_time(tmp_path: Path) -> None:
    log = tmp_path / "1.1.log"
    times = LineTimes(log)
    for position in range(1000):
        times.note(position)
    time.sleep(RESOLUTION)
    times.note(1000)
    times.close()

    noted = times_path(log).read_text().splitlines()
    assert noted[0].startswith("0 ")
    assert noted[-1].startswith("1000 ")
    assert len(noted) < 500
