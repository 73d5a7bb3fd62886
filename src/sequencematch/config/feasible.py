"""Checks of the settings in force for a job: what does not fit together, and what would end the job after hours."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sequencematch.config.experiment import Config, InForce, Task
from sequencematch.errors import UserError, at
from sequencematch.results.bleu import check_language
from sequencematch.settings.data import Translation
from sequencematch.settings.decoding_names import decoding_options
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.training import unfit
from sequencematch.store.files import read_json
from sequencematch.store.hub import check_source
from sequencematch.store.untrusted_config import MOST_BYTES

Write = Callable[[tuple], str]
# Each fault: the section, the key (empty: the section itself), and what is wrong with it.
Faults = Iterator[tuple[str, str, str]]
SCRATCH = "scratch"
# What families of models call the number of positions.
CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")


def check_in_force(config: Config, task: str, method: str | None, write: Write) -> None:
    """Raises UserError if the settings in force for a task's jobs, or for those of one of its methods, cannot work."""
    in_force = config.settings(task, method)

    def say(section: str, key: str) -> str:
        """The place that gives a setting its value here."""
        chosen = [("methods", method), ("tasks", task)] if method else [("tasks", task)]
        says = [place for place in chosen if key in getattr(getattr(config, place[0])[place[1]], section, {})]
        return write((*(says[0] if says else ()), section, key))

    data, model, evaluation = in_force["data"], in_force["model"], in_force["evaluation"]
    places = {say("model", "source"): model.source, say("evaluation", "judge"): evaluation.judge}
    for place, source in places.items():
        if source not in ("", SCRATCH) and source not in config.made:
            with at(f"{place} (task {task})"):
                check_source("model", source)
    if isinstance(data, Translation):
        with at(write(("tasks", task, "data", "languages"))):
            check_language(data.languages[-1])
    training: Faults = iter(())
    if method:
        loss, rollouts = config.loss_of(method), in_force["rollouts"]
        batch = loss.examples(in_force["optimiser"].batch)
        training = unfit(batch, rollouts if loss.rollouts else None, max(1, config.jobs.train.gpu))
        ahead = [name for name in evaluation.decodings if "lookahead" in decoding_options(name)]
        if ahead and loss.history != "erase":
            kept = f"holds '{ahead[0]}', which does not fit {method}: it keeps deleted tokens"
            raise UserError(f"{say('evaluation', 'decodings')} {kept}; give the method decodings of its own")
    for section, key, words in [*_unfit_lengths(in_force), *training, *_unfit(config, in_force)]:
        place = say(section, key) if key else f"{write(('tasks', task, section))}:"
        raise UserError(f"{place} {words} (task {task})")
    check_perturbed(evaluation.decodings, config.tasks[task], say("evaluation", "decodings"))


def _unfit_lengths(in_force: InForce) -> Faults:
    """The longest sequences that do not fit the model's context, as far as the lengths and the context are known."""
    model = in_force["model"]
    scratch = model.source == SCRATCH
    context = model.context if scratch else context_of(model.source, model.revision)
    if context is None:
        return
    held = f"model.context ({context}) holds" if scratch else f"the context of {model.source} ({context} tokens) holds"
    prompt, completion = in_force["data"].lengths
    if prompt + completion > context:
        yield "data", "", f"a prompt of {prompt} tokens and {completion} to come after it are more than {held}"
    for section in ("rollouts", "evaluation"):
        actions = in_force[section].max_actions
        if prompt + actions > context:
            words = f"is {actions}, but must be at most {context - prompt}: {held} the prompt too"
            yield section, "max_actions", words


def _unfit(config: Config, in_force: InForce) -> Faults:
    """What does not exist in the task's family."""
    data, evaluation = in_force["data"], in_force["evaluation"]
    family = FAMILIES[data.family]
    here = f"in a task of {data.family}"
    if "task" in evaluation.corruptions and not family.task_noise:
        yield "evaluation", "corruptions", f"holds 'task', but may hold random, unigram and model alone {here}"
    if in_force["noise"].kind == "task" and not family.task_noise:
        yield "noise", "kind", f"is 'task', but must be one of random, unigram, model {here}"
    if family.judged and evaluation.max_actions < data.lengths[1]:
        words = f"is {evaluation.max_actions}, but must be at least data.continuation ({data.lengths[1]})"
        yield "evaluation", "max_actions", f"{words}, and more, so that deletions leave as many tokens"
    if family.judged and not evaluation.judge and config.judge_method is None:
        words = "is empty, and no method has the loss mle, whose models would judge text"
        yield "evaluation", "judge", f"{words}: name a causal LM, or add such a method"


def check_perturbed(decodings: Sequence[str], task: Task, place: str) -> None:
    """Raises UserError for decodings that need noise of the kind 'task', where the task's family has none."""
    if FAMILIES[task.data.family].task_noise:
        return
    for name in decodings:
        if "perturbed_task" in decoding_options(name):
            raise UserError(
                f"{place}: '{name}' means nothing in {task.data.family}: choose perturbed_random or perturbed_model"
            )


@cache
def context_of(source: str, revision: str) -> int | None:
    """The most tokens that a model takes, by hub name or path; None if unknown here: the hub is not asked."""
    file: Any = Path(source) / "config.json"
    if not Path(source).exists():
        try:
            from huggingface_hub import try_to_load_from_cache

            file = try_to_load_from_cache(source, "config.json", revision=revision)
        except (ImportError, ValueError, OSError):  # ValueError: no name of a model
            return None
    try:
        values = read_json(file, most=MOST_BYTES) if isinstance(file, str | Path) else {}
    except UserError:
        return None  # the job that loads the model says what is wrong
    inner = values.get("text_config")
    for group in (values, inner if isinstance(inner, dict) else {}):
        for value in map(group.get, CONTEXT):
            if isinstance(value, int) and value is not True and value > 0:
                return value
    return None
