"""Faults of a configuration that would otherwise end a job after hours: lengths, models, batches."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from sequencematch.config.experiment import Config, InForce
from sequencematch.errors import UserError, at
from sequencematch.results.bleu import check_language
from sequencematch.settings.data import Translation
from sequencematch.settings.losses import LOSSES
from sequencematch.store.files import read_json
from sequencematch.store.hub import check_source
from sequencematch.store.untrusted_config import MOST_BYTES

WriteInForce = Callable[[str, str], str]
SCRATCH = "scratch"
# What families of models call the number of positions.
CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")


def check_feasible(
    config: Config, task: str, method: str | None, write: Callable[[tuple], str], say: WriteInForce
) -> None:
    """Raises UserError if the settings in force for a task's jobs, or for those of one of its methods, cannot work.

    write: names a place of the configuration; say: the place that gives a setting its value here.
    """
    in_force = config.settings(task, method)
    data, model, evaluation = in_force["data"], in_force["model"], in_force["evaluation"]
    places = {say("model", "source"): model.source, say("evaluation", "judge"): evaluation.judge}
    for place, source in places.items():
        if source not in ("", SCRATCH) and source not in config.made:
            with at(f"{place} (task {task})"):
                check_source("model", source)
    if isinstance(data, Translation):
        with at(write(("tasks", task, "data", "languages"))):
            check_language(data.languages[-1])
    _check_lengths(task, in_force, write, say)
    _check_batches(config, task, method, in_force, say)


def _check_lengths(task: str, in_force: InForce, write: Callable[[tuple], str], say: WriteInForce) -> None:
    """That the longest sequences fit the model's context, as far as the lengths and the context are known."""
    model = in_force["model"]
    scratch = model.source == SCRATCH
    context = model.context if scratch else context_of(model.source, model.revision)
    if context is None:
        return
    held = f"model.context ({context}) holds" if scratch else f"the context of {model.source} ({context} tokens) holds"
    prompt, completion = in_force["data"].lengths
    if prompt + completion > context:
        raise UserError(
            f"{write(('tasks', task, 'data'))}: a prompt of {prompt} tokens and {completion} to come after it "
            f"are more than {held}"
        )
    for section in ("rollouts", "evaluation"):
        if prompt + in_force[section].max_actions > context:
            raise UserError(
                f"{say(section, 'max_actions')} is {in_force[section].max_actions}, but must be at most "
                f"{context - prompt}: {held} the prompt too (task {task})"
            )


def _check_batches(config: Config, task: str, method: str | None, in_force: InForce, say: WriteInForce) -> None:
    batch, rollouts, gpus = in_force["optimiser"].batch, in_force["rollouts"], config.jobs.train.gpu
    if batch < gpus:
        raise UserError(
            f"{say('optimiser', 'batch')} is {batch}, but must be at least jobs.train.gpu ({gpus}), so that each "
            f"process has a row of every batch (task {task})"
        )
    trained_on_rollouts = method is not None and LOSSES[config.methods[method].loss].rollouts
    if trained_on_rollouts and rollouts.generate * rollouts.seen < batch:
        raise UserError(
            f"{say('rollouts', 'generate')} ({rollouts.generate}) times rollouts.seen ({rollouts.seen}) must be at "
            f"least optimiser.batch ({batch}), or rollouts would be generated more than once a step (task {task})"
        )


@cache
def context_of(source: str, revision: str) -> int | None:
    """The most tokens that a model takes, by hub name or path; None if this machine does not know.

    The hub is not asked.
    """
    file = _config_file(source, revision)
    try:
        values = read_json(file, most=MOST_BYTES) if file else {}
    except UserError:
        return None  # the job that loads the model says what is wrong
    inner = values.get("text_config")
    for group in (values, inner if isinstance(inner, dict) else {}):
        for value in map(group.get, CONTEXT):
            if isinstance(value, int) and value is not True and value > 0:
                return value
    return None


def _config_file(source: str, revision: str) -> Path | None:
    local = Path(source) / "config.json"
    if Path(source).exists():
        return local if local.is_file() else None
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(source, "config.json", revision=revision)
    except (ImportError, ValueError, OSError):  # ValueError: no name of a model
        return None
    return Path(found) if isinstance(found, str) else None
