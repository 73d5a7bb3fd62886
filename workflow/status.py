"""Shows how far a run is: ``status.py [--watch] TARGET ... [OPTION ...]``, as on Snakemake's command line.

It reads the plan, the logs' progress bars and the metrics of unfinished trainings, and takes no lock, so that it may be
called while a run goes on. With ``--watch`` it shows them again every ten seconds, until Ctrl-C.
"""

import csv
import os
import re
import sys
import time
from pathlib import Path
from statistics import mean

import psutil
from plan import counted, duration, in_words, is_started, options_of, planned, real_jobs, seconds
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from run import is_snakemake_here
from snakemake.jobs import Job
from snakemake.workflow import Workflow

INTERVAL = 10  # seconds between two looks; each takes less than one
TAIL = 4096  # bytes at a log's end in which its progress bar is looked for
BAR = re.compile(r"(\d+)/(\d+) \[[\d:]+<([\d:]+|\?)")  # tqdm's: 30/300 [00:12<01:48, ...
SHOWN = ("step", "loss", "validation_loss", "learning_rate")


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--watch"]
    if len(words) == len(sys.argv) - 1:
        Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(overview(words))
        return
    with Live(overview(words), auto_refresh=False) as live:
        while True:
            time.sleep(INTERVAL)
            live.update(overview(words), refresh=True)


def overview(words: list[str]) -> Group:
    """Everything there is to tell, now."""
    with planned(words) as workflow:
        jobs = real_jobs(workflow)
        left = [job for job in jobs if workflow.dag.needrun(job)]
        started = [job for job in left if is_started(workflow, job)]
        parts = [in_total(workflow, jobs, left), by_rule(workflow, jobs, left, started)]
        return Group(*parts, *([of_jobs(workflow, started)] if started else []))


def in_total(workflow: Workflow, jobs: list[Job], left: list[Job]) -> str:
    """One sentence on the whole run."""
    scale = workflow.globals["CONFIG"].scale
    goes_on = any(is_snakemake_here(process) for process in psutil.process_iter() if process.pid != os.getpid())
    run = "a run is going on" if goes_on else "no run is going on"
    done = f"{scale}: {len(jobs) - len(left)} of {len(jobs)} jobs done; {run}"
    times = {job: remaining(workflow, job, jobs) for job in left}
    known = {job: left for job, left in times.items() if left is not None}
    unknown = times.keys() - known
    estimate = [f"about {in_words(duration(workflow, known))}"] if known else []
    estimate += [f"{counted(unknown, 'job')} of a kind that was not measured yet"] if unknown else []
    return f"{done}; still to go: {' and '.join(estimate)}" if left else done


def by_rule(workflow: Workflow, jobs: list[Job], left: list[Job], started: list[Job]) -> Table:
    """Of each rule the jobs that are done, begun and to come."""
    table = plain_table("rule", "done", "begun", "to come")
    for rule in workflow.rules:
        counts = [sum(job.rule is rule for job in some) for some in (jobs, left, started)]
        every, unfinished, begun = counts
        if every:
            table.add_row(rule.name, *map(str, (every - unfinished, begun, unfinished - begun)))
    return table


def of_jobs(workflow: Workflow, started: list[Job]) -> Table:
    """Of each job that has begun, how far it is, and the newest values of its metrics."""
    table = plain_table("begun", "for", "progress", "left", *(name.replace("_", " ") for name in SHOWN))
    for job in started:
        done = progress(workflow, job)
        share = f"{done[0]} of {done[1]} ({done[0] / done[1]:.0%})" if done and done[1] else ""
        metrics = newest_metrics(job)
        name = " ".join([job.rule.name, *(f"{key}={value}" for key, value in job.wildcards.items())])
        left = done[2] if done else ""
        table.add_row(name, in_words(age(workflow, job)), share, left, *(metrics.get(name, "") for name in SHOWN))
    return table


def plain_table(*names: str) -> Table:
    return Table(*names, box=None, pad_edge=False, header_style="bold")


def age(workflow: Workflow, job: Job) -> float:
    """Seconds since the job began."""
    return time.time() - (workflow.persistence._get_recorded_starttime(str(job.output[0])) or time.time())


def remaining(workflow: Workflow, job: Job, jobs: list[Job]) -> float | None:
    """Seconds that an unfinished job still takes: by its progress bar, or as its last run or others of its rule."""
    begun = is_started(workflow, job)
    done = progress(workflow, job) if begun else None
    if done and done[2] != "?":
        return sum(60**place * int(part) for place, part in enumerate(reversed(done[2].split(":"))))
    measured = [time for other in jobs if other.rule is job.rule and (time := seconds(other)) is not None]
    expected = seconds(job) or (mean(measured) if measured else None)
    return max(0, expected - age(workflow, job)) if expected is not None and begun else expected


def progress(workflow: Workflow, job: Job) -> tuple[int, int, str] | None:
    """Steps done, all steps and the time left, by the newest progress bar in the log of a job that has begun.

    None where it shows none, or where the log is still that of an earlier attempt.
    """
    file = Path(job.log[0])
    if not file.is_file() or file.stat().st_mtime < time.time() - age(workflow, job) - 1:
        return None
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - TAIL))
        bars = BAR.findall(log.read().decode(errors="replace"))
    return (int(bars[-1][0]), int(bars[-1][1]), bars[-1][2]) if bars else None


def newest_metrics(job: Job) -> dict[str, str]:
    """The last value of each metric of an unfinished training; empty where the job has none."""
    folder = options_of(job.params.call).get("resume")
    try:
        file = max(Path(folder or "no training").glob("*/metrics.csv"), key=lambda file: file.stat().st_mtime)
        rows = list(csv.DictReader(file.read_text().splitlines()))
    except (ValueError, FileNotFoundError):  # none yet, or the training has just ended
        return {}
    return {name: f"{float(value):.4g}" for row in rows for name, value in row.items() if value}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit()
