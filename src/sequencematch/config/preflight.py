"""What the jobs about to run need from this machine, checked before any work starts.

Only jobs that run here are checked. Jobs sent to other machines look for their GPUs when they start.
"""

from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import psutil

from sequencematch.config.experiment import Config
from sequencematch.settings.data import Language
from sequencematch.store.hub import is_path

TRAINING = ("pretrain_base", "pretrain_bc", "finetune")
# Stages whose jobs may ask for GPUs, and their rules.
STAGES = {"train": (*TRAINING, "measure_overheads"), "sample": ("sample", "judge")}
LOADING = (*TRAINING, "train_tokenizer", "sample", "judge")  # rules that read a pretrained model
MEGABYTE = 10**6


class Planned(NamedTuple):
    """A job about to run: its rule, its task (None where it has none), and the memory it asks for."""

    rule: str
    task: str | None
    mem_mb: int


class Reference(NamedTuple):
    """Something on the hub: ``kind`` model or dataset, the ``key`` of the configuration that names it."""

    kind: str
    key: str
    name: str
    revision: str


def problems(jobs: Sequence[Planned], config: Config, gpus: int | None = None) -> list[str]:
    """One sentence for every need of ``jobs`` that this machine, or ``gpus`` at a time (None: any), does not meet."""
    found = [*_gpu_problems(jobs, config, gpus), *_memory_problems(jobs), *map(hub_problem, references(jobs, config))]
    if config.tracker != "none" and _tasks(jobs, TRAINING) and find_spec(config.tracker) is None:
        remedy = "pip install 'sequencematch[trackers]', or set tracker to none"
        found.insert(0, f"tracker is {config.tracker}, a package that is not installed: {remedy}")
    return [problem for problem in found if problem]


def _gpu_problems(jobs: Sequence[Planned], config: Config, allowed: int | None) -> Iterator[str]:
    planned = [stage for stage, rules in STAGES.items() if any(job.rule in rules for job in jobs)]
    asking = {stage: gpu for stage in planned if (gpu := getattr(config.jobs, stage).gpu)}
    if not asking:
        return
    import torch

    found = torch.cuda.device_count()
    for stage, gpu in asking.items():
        asks = f"a job of the stage '{stage}' asks for {gpu} GPU(s) (jobs.{stage}.gpu)"
        if gpu > found:
            yield f"{asks}, and torch finds {found} here: run on a machine that has them, or choose another scale"
        elif allowed is not None and gpu > allowed:
            yield f"{asks}, and this run may use {allowed} at a time: make GPUS={gpu}"


def _memory_problems(jobs: Sequence[Planned]) -> Iterator[str]:
    present = psutil.virtual_memory().total // MEGABYTE
    if too_much := {job.rule: job.mem_mb for job in jobs if job.mem_mb > present}:
        rules = ", ".join(f"{rule} {mem_mb}" for rule, mem_mb in sorted(too_much.items()))
        remedy = "run on a larger one, or lower jobs.*.mem_mb if you know that less will do"
        yield f"this machine has {present} MB of memory, and single jobs ask for more ({rules}): {remedy}"


def references(jobs: Sequence[Planned], config: Config) -> list[Reference]:
    """What ``jobs`` will take from the hub, each once: models, and data where a task's source lies there."""
    models = [config.settings(task)["model"] for task in _tasks(jobs, LOADING)]
    found = [Reference("model", "model.source", model.source, model.revision) for model in models]
    for task in _tasks(jobs, ("make_dataset",)):
        data = config.tasks[task].data
        if isinstance(data, Language) and (source := config.sources[data.source]).kind == "hub":
            found.append(Reference("dataset", f"sources.{data.source}", source.name, source.revision))
    found = [one for one in found if one.name != "scratch" and not is_path(one.name)]
    return list(dict.fromkeys(found))


def hub_problem(reference: Reference) -> str | None:
    """Why ``reference`` cannot be had from the hub, in a sentence that says what to do; None where it can."""
    from huggingface_hub import HfApi, errors, get_token, try_to_load_from_cache

    kind, key, name, revision = reference
    what = f"the {kind} '{name}' ({key})"
    local = "give the path of a local copy" if kind == "model" else "name files of your own as the source"
    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}"
    login = "" if get_token() else "log in with `hf auth login`, "
    api = HfApi()
    try:
        api.auth_check(name, repo_type=kind)
        (api.model_info if kind == "model" else api.dataset_info)(name, revision=revision, timeout=10)
    except errors.GatedRepoError:
        return f"{what} is given only to those who have accepted its licence: {login}accept it at {page}, or {local}"
    except errors.RevisionNotFoundError:
        return f"{what} has no revision '{revision}': see {page}/commits for those it has"
    except errors.RepositoryNotFoundError:
        return f"{what} is not on the hub, or not shown to you: check the name, {login}or {local}"
    except (errors.HfHubHTTPError, errors.HTTPError, OSError) as error:
        if isinstance(try_to_load_from_cache(name, "config.json", revision=revision, repo_type=kind), str):
            return None  # downloaded earlier
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            return f"{what} is not shown to you: {login or 'see what your token may read, '}or {local}"
        return f"{what} cannot be reached ({type(error).__name__}): check the connection to the hub, or {local}"
    return None


def _tasks(jobs: Sequence[Planned], rules: Collection[str]) -> list[str]:
    return list(dict.fromkeys(job.task for job in jobs if job.task is not None and job.rule in rules))
