"""Snakemake's benchmarks of jobs that run in a worker of the warm server (``workflow/warm``)."""

from pathlib import Path
from typing import Any

import psutil
import snakemake.benchmark

WORKERS = Path(".snakemake") / "warm"  # a file per job there, named by its process, holds that of its worker


class Job(psutil.Process):
    """The process of a job. Its worker counts as its child, because the warm server forked it for this job."""

    def children(self, recursive: bool = False) -> list[psutil.Process]:
        """The job's child processes, its worker and the worker's children."""
        found = super().children(recursive)
        return found + [process for pid in (self.pid, *(child.pid for child in found)) for process in _worker(pid)]


def _worker(job: int) -> list[psutil.Process]:
    try:
        worker = psutil.Process(int((WORKERS / str(job)).read_text()))
        return [worker, *worker.children(recursive=True)]
    except (OSError, ValueError, psutil.Error):  # it has none, or has ended
        return []


class _Counting:
    """Marks the timer that counts workers."""


def count_workers() -> None:
    """Let Snakemake's benchmarks count the memory and the CPU time of workers.

    There is no effect if the installed version of Snakemake measures in another way.
    """
    timer: Any = getattr(snakemake.benchmark, "BenchmarkTimer", None)
    if timer is None or not hasattr(timer, "_update_record") or issubclass(timer, _Counting):
        return

    class Timer(_Counting, timer):
        def __init__(self, pid: int, *arguments: Any, **options: Any):
            super().__init__(pid, *arguments, **options)
            self.main = Job(pid)

    snakemake.benchmark.BenchmarkTimer = Timer
