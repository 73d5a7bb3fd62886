"""How much processor time Snakemake takes for itself in a run: ``measure_snakemake.py TARGET ... [OPTION ...]``.

It runs the workflow as ``make`` does, with the same words, and ends with one line. Processor seconds are counted, not
wall time, so that a machine that does other things changes little. For example:

    python trials/measure_snakemake.py all --config scale=smoke
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

COLUMN = "cpu_time"  # of a benchmark file: processor seconds of the job


def main() -> None:
    if not sys.argv[1:] or "--help" in sys.argv:
        print(__doc__, end="")
        return
    start = time.time()
    process = subprocess.Popen([sys.executable, "workflow/launcher/run.py", *sys.argv[1:]])
    own = seconds_of(process.pid)
    wall, status = time.time() - start, process.wait()
    jobs = benchmarked(Path("results"), start)
    share = f", {own / (own + sum(jobs)):.1%} of both" if sum(jobs) else ""
    print(
        f"Snakemake itself took {own:.1f} processor seconds, {len(jobs)} jobs {sum(jobs):.0f}{share}; "
        f"{wall:.0f} s of wall time"
    )
    sys.exit(status)


def seconds_of(process: int) -> float:
    """Processor seconds of a child process without its own children, once it has ended."""
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)  # its numbers are there until it is waited for
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


def benchmarked(results: Path, since: float) -> list[float]:
    """Processor seconds of each job whose benchmark was written since then; 0 for a job too short to be measured."""
    seconds = []
    for file in results.glob("*/benchmarks/**/*.tsv"):
        if file.stat().st_mtime >= since:
            header, values = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()[:2])
            value = dict(zip(header, values, strict=True))[COLUMN]
            seconds.append(0.0 if value == "NA" else float(value))
    return seconds


if __name__ == "__main__":
    main()
