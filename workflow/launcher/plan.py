"""What Snakemake would do in this folder. The plan is made without running, locking or ending anything."""

import shlex
from ast import literal_eval
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from run import PROFILES, check_settings
from snakemake.api import SnakemakeApi
from snakemake.cli import get_argument_parser, parse_config
from snakemake.exceptions import MissingRuleException, WorkflowError
from snakemake.jobs import Job
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, DeploymentSettings, OutputSettings, ResourceSettings
from snakemake.utils import available_cpu_count
from snakemake.workflow import Workflow

from sequencematch.settings.explain import unknown


@contextmanager
def planned(words: list[str]) -> Iterator[Workflow]:
    """The workflow with its jobs (``.dag``) and the records of earlier runs (``.persistence``).

    ``words``: targets and options of Snakemake's command line. Where something is wrong, the program ends as it does.
    """
    check_settings(words)
    args = get_argument_parser(profiles=[PROFILES / "default"]).parse_args(words)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)) as api:
        try:
            workflow_api = api.workflow(
                ResourceSettings(cores=args.cores or available_cpu_count(), resources=args.resources),
                ConfigSettings(config=parse_config(args.config), configfiles=args.configfile, config_args=args.config),
                deployment_settings=DeploymentSettings(args.software_deployment_method, conda_prefix=args.conda_prefix),
                snakefile=args.snakefile,
            )
            size = args.max_checksum_file_size
            workflow_api.dag(DAGSettings(targets=args.targets, force_incomplete=True, max_checksum_file_size=size))
            # What Snakemake's own --summary and --list-changes do; its API has no public way to the plan itself.
            workflow = workflow_api._workflow
            workflow._prepare_dag(forceall=False, ignore_incomplete=False, lock_warn_only=True)
            workflow._build_dag()
        except MissingRuleException as error:
            targets = [rule.name for rule in workflow_api._workflow.rules if not rule.has_wildcards()]
            near = [unknown(f"target '{name}'", name, targets) for name in args.targets if name not in targets]
            raise SystemExit(f"error: {'; '.join(near) or error}") from None
        except WorkflowError as error:
            api.print_exception(error)
            raise SystemExit(1) from None
        yield workflow


def real_jobs(workflow: Workflow) -> list[Job]:
    """All jobs behind the targets that make something, whether they will run or not, upstream first."""
    return [job for level in workflow.dag.toposorted() for job in sorted(level, key=str) if job.output]


def is_started(workflow: Workflow, job: Job) -> bool:
    """Whether the job began and has not ended: it runs, waits in a cluster's queue, or was interrupted."""
    return bool(workflow.persistence._filter_incomplete_keys(map(str, job.output)))


def recorded_call(workflow: Workflow, job: Job) -> dict | None:
    """The parameter ``call`` that the job's outputs were made with; None if there is no record."""
    for record in map(workflow.persistence.metadata, job.output):
        for value in map(literal_eval, record.params or [] if record else []):
            if isinstance(value, dict) and "options" in value:
                return value
    return None


def options_of(call: dict) -> dict[str, str]:
    """The options of a parameter ``call`` by name, without their dashes."""
    options: dict[str, list[str]] = {}
    name = ""
    for word in shlex.split(call["options"]):
        if word.startswith("--"):
            name, _, value = word.removeprefix("--").partition("=")
            options[name] = [value] if value else []
        else:
            options[name].append(word)
    return {name: " ".join(values) for name, values in options.items()}


def seconds(job: Job) -> float | None:
    """Run time of the job when it last ran; None where it never did."""
    file = Path(job.benchmark)
    return float(file.read_text().splitlines()[1].split("\t")[0]) if file.is_file() else None


def duration(workflow: Workflow, times: dict[Job, float]) -> float:
    """The least wall time (seconds) of jobs that take ``times``, by the scarcest resource or the longest chain."""
    ends: dict[Job, float] = {}
    for job in (job for level in workflow.dag.toposorted() for job in level):
        ends[job] = times.get(job, 0) + max((ends[d] for d in workflow.dag.dependencies[job]), default=0)
    limits = {name: limit.value for name, limit in workflow.global_resources.items() if limit.value}
    busy = (sum(t * job.resources.get(name, 0) for job, t in times.items()) / n for name, n in limits.items())
    return max([*ends.values(), *busy], default=0)


def in_words(time: float) -> str:
    if time < 90:
        return f"{time:.0f} s"
    minutes = round(time / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def counted(things: Collection, name: str) -> str:
    """How many there are, as in '1 job' and '2 jobs'."""
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
