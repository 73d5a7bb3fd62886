"""What the Snakefile takes from inside Snakemake, for want of a public interface. Tried with 9.17.0 and 9.27.1.

Snakemake hands its ``workflow`` to a Snakefile. Without its ``dag``, a run cannot be checked before its first job, and
results of an earlier run are not kept. The rest only saves time or adds numbers: without it, results are the same.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import snakemake.benchmark

from sequencematch.config.preflight import Planned

# The warm server leaves a file <process of the shell>-<process of the job> here when a job's worker has ended.
WORKERS = Path(".snakemake") / "warm"


def jobs_to_run(workflow: Any) -> list[Any]:
    """The jobs of Snakemake that are about to run."""
    return list(workflow.dag.needrun_jobs())


def planned_jobs(workflow: Any) -> list[Planned]:
    """The same, as the check of the machine reads them."""
    return [
        Planned(job.rule.name, job.wildcards_dict.get("task"), job.resources.get("mem_mb", 0))
        for job in jobs_to_run(workflow)
    ]


def share_one_gpu(workflow: Any) -> None:
    """Let the jobs of this machine share one GPU, unless the command line says more.

    Otherwise Snakemake starts as many jobs that ask for a GPU as there are cores.
    """
    if workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources:
        workflow.global_resources["gpu"] = 1


def allowed_gpus(workflow: Any) -> int | None:
    """GPUs that the jobs of this run may use at a time (make GPUS=2). None if the command line names no number."""
    resource = workflow.global_resources.get("gpu")
    return getattr(resource, "value", resource)


def stop_timers(workflow: Any) -> None:
    """Switch off the limit of jobs per second, which wakes the scheduler once a second more for each finished job.

    It costs a tenth of the processor time of a default run (docs/overheads.md) and no option switches it off.
    """
    if workflow.local_exec and getattr(workflow.scheduler, "job_rate_limiter", None) is not None:
        workflow.scheduler.job_rate_limiter = None


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
