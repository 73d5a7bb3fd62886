"""Show how far a run is: ``status.py TARGET ... [OPTION ...]``, as on Snakemake's command line.

Snakemake itself shows which jobs have ended. This shows the jobs that are running: how far each is, by the progress bar
in its log, and the newest metrics of a training. It takes no lock, so it may be called from another terminal.
"""

import csv
import os
import re
import sys
import time
from pathlib import Path

import psutil
from plan import in_words, is_started, options_of, planned, real_jobs
from rich.console import Console
from rich.table import Table
from run import is_snakemake_here
from snakemake.jobs import Job

TAIL = 4096  # bytes at a log's end in which its progress bar is looked for
BAR = re.compile(r"(\d+/\d+) \[[\d:]+<([\d:]+|\?)")  # tqdm's: 30/300 [00:12<01:48, ...
METRICS = ("step", "loss", "validation_loss", "learning_rate")


def main() -> None:
    goes_on = any(is_snakemake_here(process) for process in psutil.process_iter() if process.pid != os.getpid())
    table = Table("running", "for", "steps", "left", *(name.replace("_", " ") for name in METRICS), box=None)
    with planned(sys.argv[1:]) as workflow:
        jobs = real_jobs(workflow)
        unfinished = [job for job in jobs if workflow.dag.needrun(job)]
        for job in unfinished:
            if is_started(workflow, job):
                started = workflow.persistence._get_recorded_starttime(str(job.output[0])) or time.time()
                name = " ".join([job.rule.name, *(f"{key}={value}" for key, value in job.wildcards.items())])
                metrics = newest_metrics(job)
                row = [name, in_words(time.time() - started), *progress(Path(job.log[0]), started)]
                table.add_row(*row, *(metrics.get(name, "") for name in METRICS))
        scale = workflow.globals["CONFIG"].scale
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    run = "a run is going on" if goes_on else "no run is going on"
    console.print(f"{scale}: {len(jobs) - len(unfinished)} of {len(jobs)} jobs done; {run}")
    if table.rows:
        console.print(table)


def progress(log: Path, started: float) -> tuple[str, str]:
    """Steps done of all, and the time left, by the newest bar in a job's log; empty without one of this attempt."""
    if not log.is_file() or log.stat().st_mtime < started - 1:
        return "", ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        bars = BAR.findall(file.read().decode(errors="replace"))
    return bars[-1] if bars else ("", "")


def newest_metrics(job: Job) -> dict[str, str]:
    """The last value of each metric of an unfinished training. Empty where the job has none."""
    folder = options_of(job.params.call).get("resume")
    try:
        file = max(Path(folder or "no training").glob("*/metrics.csv"), key=lambda file: file.stat().st_mtime)
        rows = list(csv.DictReader(file.read_text().splitlines()))
    except (ValueError, FileNotFoundError):  # none yet, or the training has just ended
        return {}
    return {name: f"{float(value):.4g}" for row in rows for name, value in row.items() if value}


if __name__ == "__main__":
    main()
