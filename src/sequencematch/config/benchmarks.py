"""What Snakemake's benchmarks measure where the jobs of a run share one start of torch (``workflow/launcher/warm``)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import snakemake.benchmark

# The warm server leaves a file <process of the shell>-<process of the job> here when a job's worker has ended.
WORKERS = Path(".snakemake") / "warm"


class _Counting:
    """Adds to a benchmark what the warm server's workers took: they are no children of the job's shell."""

    pid: int
    bench_record: Any

    def cancel(self) -> None:
        super().cancel()  # type: ignore[misc]
        record = self.bench_record
        for number, worker in enumerate(_workers(self.pid)):
            record.data_collected = True
            record.processed_procs["worker", number] = worker["cpu_time"]
            record.cpu_time = sum(record.processed_procs.values())
            record.cpu_usage += 100 * worker["cpu_time"]  # over the seconds, it is the load in percent
            record.max_rss = max(record.max_rss or 0, worker["max_rss"])
            for unknown in ("max_vms", "max_uss", "max_pss", "io_in", "io_out"):
                setattr(record, unknown, "NA")


def _workers(job: int) -> Iterator[dict[str, float]]:
    """The processor seconds and the memory (MB) of each worker of a job, once."""
    for file in [*WORKERS.glob(f"{job}-*"), *WORKERS.glob(f"*-{job}")]:
        yield json.loads(file.read_text())
        file.unlink()


def count_workers() -> None:
    """Let the benchmarks of this Snakemake count the memory and the processor time of workers.

    Without effect where a version of Snakemake measures in another way.
    """
    timer: Any = getattr(snakemake.benchmark, "BenchmarkTimer", None)
    if timer is not None and hasattr(timer, "cancel") and not issubclass(timer, _Counting):
        snakemake.benchmark.BenchmarkTimer = type("BenchmarkTimer", (_Counting, timer), {})
