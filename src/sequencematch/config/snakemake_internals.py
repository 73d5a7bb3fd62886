"""What the Snakefile takes from inside Snakemake, for want of a public interface. Tried with 9.17.0 and 9.27.1.

Snakemake hands its ``workflow`` to a Snakefile. Without its ``dag``, a run cannot be checked before its first job, and
results of an earlier run are not kept. The rest only saves time: without it, results are the same.
"""

from typing import Any

from sequencematch.config.preflight import Planned


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
    """Let this machine's jobs share one GPU, unless the command line says more: Snakemake counts cores alone."""
    if workflow.is_main_process and workflow.local_exec and "gpu" not in workflow.global_resources:
        workflow.global_resources["gpu"] = 1


def allowed_gpus(workflow: Any) -> int | None:
    """GPUs that the jobs of this run may use at a time (make GPUS=2). None if the command line names no number."""
    resource = workflow.global_resources.get("gpu")
    return getattr(resource, "value", resource)


def stop_timers(workflow: Any) -> None:
    """Switch off the limit of jobs per second, which takes a tenth of a run's processor time (docs/overheads.md)."""
    if workflow.local_exec and getattr(workflow.scheduler, "job_rate_limiter", None) is not None:
        workflow.scheduler.job_rate_limiter = None
