"""Measure a run of 1,000 tasks: its memory, and the cost of a task at the start and at the end.

Each task is `true`, in a pool of 8, so that only the program's own work is measured.

Usage: python benchmarks/thousand.py [--tasks N] [--pool N]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

from run import PATCHYARD, Scratch

WINDOW = 100
"""Number of tasks over which the cost is averaged."""


def plan_of(tasks: int, *, batches: int = 10) -> str:
    """Return a plan with a number of tasks that do nothing."""
    lines = ["# A thousand\n"]
    for batch in range(1, batches + 1):
        lines.append(f"## Batch {batch}: Part {batch}\n")
        numbers = range(1, tasks // batches + 1)
        lines += [f"### Task {batch}.{number}: Nothing\n\n**Run:** `true`\n" for number in numbers]
    return "\n".join(lines)


def peak_of(pid: int) -> float:
    """Return the peak memory of a process so far, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(tasks: int, pool: int) -> tuple[list[float], float, float]:
    """Run the plan, and return the end of each task, the total (both in seconds), and the peak memory in MB."""
    with tempfile.TemporaryDirectory() as directory:
        repo = Scratch(Path(directory))
        repo.repository.mkdir()
        repo.git("init", "--quiet", "--initial-branch", "main")
        (repo.repository / "README.md").write_text("# Sample\n")
        repo.git("add", "--all")
        repo.git("commit", "--quiet", "--message", "first")
        plan = Path(directory, "plan.md")
        plan.write_text(plan_of(tasks))
        command = [PATCHYARD, "run", plan, "--json", "--no-cache", "--pool-size", str(pool)]
        began = time.perf_counter()
        process = subprocess.Popen(
            [*map(str, command)], cwd=repo.repository, env=repo.environ, stdout=subprocess.PIPE, text=True
        )
        peak, ended = 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.1):
                try:
                    peak = max(peak, peak_of(process.pid))
                except OSError:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, _ = process.communicate()
        ended.set()
        watcher.join()
        whole = time.perf_counter() - began
        if process.returncode:
            sys.exit(f"the run ended with exit code {process.returncode}")
        events = [json.loads(line) for line in output.splitlines()]
        times = [
            datetime.fromisoformat(event["time"]).timestamp()
            for event in events
            if event["event"] == "task_finished" and event["status"] == "unchanged"
        ]
        if len(times) != tasks:
            sys.exit(f"{len(times)} of {tasks} tasks did nothing, as they should")
        return times, whole, peak


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--pool", type=int, default=8)
    options = parser.parse_args()
    times, whole, peak = measure(options.tasks, options.pool)
    print("| tasks | wall time | memory at its peak |")
    print("|---|---|---|")
    print(f"| {options.tasks} x `true`, pool of {options.pool} | {whole:.1f} s | {peak:.0f} MB |")
    print()
    print("| from task | to task | a task | against the first row |")
    print("|---|---|---|---|")
    first = None
    for start in sorted({WINDOW, len(times) * 4 // 10, len(times) * 7 // 10, len(times) - WINDOW}):
        end = start + WINDOW - 1
        cost = (times[end] - times[start]) / (end - start) * 1000
        first = first or cost
        print(f"| {start} | {end + 1} | {cost:.1f} ms | {cost / first:.2f} times |")


if __name__ == "__main__":
    main()
