"""Checks of a configuration beyond the type and bounds of each setting: names exist, and settings fit together.

Every check raises UserError with the file and key of the mistake. ``write`` names these: it turns a place such as
``("model", "width")`` into ``config.yaml: model.width``.
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sequencematch.config.experiment import SECTIONS, Config, InForce, Task
from sequencematch.config.feasible import check_feasible
from sequencematch.config.names import check_names
from sequencematch.data import documents, pairs
from sequencematch.errors import UserError, at
from sequencematch.settings.data import Language, Translation
from sequencematch.settings.decoding_names import decoding_options
from sequencematch.settings.explain import unknown, validated
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.map import Map, readings_of
from sequencematch.settings.model import Model

# The settings of the schedule that fine-tuning alone reads, so that methods may differ in them.
OF_FINE_TUNING = {"beta_final", "beta_steps"}

Write = Callable[[tuple], str]
WriteInForce = Callable[[str, str], str]


def check(config: Config, write: Write) -> None:
    """Raises UserError where names or settings of the configuration do not fit together."""
    check_names(config, write)
    _check_names(config, write)
    for task in config.tasks:
        _check_source(config, task, write)
        for method in (None, *config.methods):
            _check_settings(config, task, method, write)
    for name in config.overheads:
        _check_overhead(config, name, write)


def _check_names(config: Config, write: Write) -> None:
    for name, task in config.tasks.items():
        source = getattr(task.data, "source", None)
        if source is not None:
            _check_known(write(("tasks", name, "data", "source")), source, config.sources)
    for name in config.overheads.keys() & config.tables.keys():
        raise UserError(f"{write(('overheads', name))}: tables has an entry of that name; rename one of them")
    for name, table in config.tables.items():
        _check_known(write(("tables", name, "task")), table.task, config.tasks)
        for method in table.methods:
            _check_known(write(("tables", name, "methods")), method, config.methods)
            family = config.tasks[table.task].data.family
            if config.loss_of(method).relabels and not FAMILIES[family].reference:
                raise UserError(
                    f"{write(('tables', name, 'methods'))} holds '{method}', which needs a reference completion for "
                    f"each prompt, and {family} has none (task {table.task}): leave it out"
                )
    if config.map:
        _check_map(config, config.map, write)


def _check_map(config: Config, described: Map, write: Write) -> None:
    """Check that the names in the map exist, and that its decodings go together."""
    for role, method in described.methods.items():
        _check_known(write(("map", "methods", role)), method, config.methods)
    _check_known(write(("map", "task")), described.task, config.tasks)
    for name, axis in described.axes.items():
        place = write(("map", "axes", name))
        for cell in axis.cells:
            named: dict[str, Collection[str]] = {"task": config.tasks, "method": config.methods, "decoding": ()}
            for group, known in named.items():
                given, here = getattr(cell, group), f"{place}, cell '{cell.at}'.{group}"
                for role in given if isinstance(given, dict) else ():
                    _check_known(here, role, described.methods)
                for value in (given.values() if isinstance(given, dict) else [given]) if known else ():
                    _check_known(here, value, known)
        try:
            readings = readings_of(described.model_copy(update={"axes": {name: axis}}), config.noiseless)
        except ValueError as error:
            raise UserError(f"{place}: {error}") from None
        for reading in readings:
            for side in reading.sides.values():
                _check_perturbed([side.decoding], config.tasks[side.task], f"{place}, cell '{reading.at}'")


def _check_perturbed(decodings: Sequence[str], task: Task, place: str) -> None:
    """Only some families have wrong tokens of their own, such as another digit."""
    if FAMILIES[task.data.family].task_noise:
        return
    for name in decodings:
        if "perturbed_task" in decoding_options(name):
            raise UserError(
                f"{place}: '{name}' has no meaning in a task of {task.data.family}: "
                "choose perturbed_random or perturbed_model"
            )


def _check_known(place: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise UserError(unknown(f"{place}: '{name}'", name, known))


def _check_overhead(config: Config, name: str, write: Write) -> None:
    """Check the network of an overhead table, with its overrides, and that the sequences fit it."""
    values = config.model.model_dump() | config.overheads[name].model
    validated(Model, values, lambda place: write(("overheads", name, "model", *place)))
    measured, model = config.overhead_settings(name)
    with at(write(("overheads", name))):
        measured.check_fits(model)


def check_files(config: Config) -> None:
    """Raises UserError where a file of a corpus that a task needs is not there. Paths are relative to this folder."""
    for task in config.tasks:
        data, source = config.tasks[task].data, config.source(task)
        for file in itertools.chain(*source.files.values()) if source and isinstance(data, Language) else ():
            if file not in config.made and not Path(file).is_file():
                raise UserError(
                    f"'{file}' is not there: task {task} needs it (sources.{data.source}); "
                    "put it there, or name another source"
                )


def _check_source(config: Config, task: str, write: Write) -> None:
    """Check that the task's corpus has what its family needs."""
    data, source = config.tasks[task].data, config.source(task)
    if source is None or not isinstance(data, Language):
        return
    try:
        if isinstance(data, Translation):
            pairs.check_source(source, data)
        else:
            documents.check_source(source)
    except UserError as error:
        raise UserError(f"{write(('sources', data.source))}: {error} (task {task})") from None


def _check_settings(config: Config, task: str, method: str | None, write: Write) -> None:
    """Check the settings in force, with the overrides applied: each section, then all together."""
    group, name = ("methods", method) if method else ("tasks", task)
    overrides = getattr(config, group)[name]

    def write_override(place: tuple) -> str:
        return write((group, name, section, *place))

    for section, model in SECTIONS.items():
        values = getattr(config, section).model_dump() | getattr(config.tasks[task], section)
        values |= getattr(overrides, section, {})
        validated(model, values, write_override)

    shared = set(getattr(overrides, "schedule", {})) - OF_FINE_TUNING if method else set()
    if shared:
        raise UserError(
            f"{write(('methods', method, 'schedule', min(shared)))} is shared by all methods of a task, so that they "
            f"start equal and take the same number of steps: set it for the task; a method may change "
            f"{' and '.join(sorted(OF_FINE_TUNING))}"
        )

    def write_in_force(section: str, key: str) -> str:
        """The place that gives a setting its value here."""
        chosen = [("methods", method), ("tasks", task)] if method else [("tasks", task)]
        says = [place for place in chosen if key in getattr(getattr(config, place[0])[place[1]], section, {})]
        return write((*(says[0] if says else ()), section, key))

    in_force = config.settings(task, method)
    buffer, batch = in_force["rollouts"].buffer, in_force["optimiser"].batch
    if buffer < batch:
        raise UserError(
            f"{write_in_force('rollouts', 'buffer')} is {buffer}, but must be at least optimiser.batch ({batch}), "
            f"or no batch can be drawn from it (task {task})"
        )
    if in_force["rollouts"].concurrent and config.jobs.train.gpu > 1:
        raise UserError(
            f"{write_in_force('rollouts', 'concurrent')} is true, but training then takes one process, and "
            f"jobs.train.gpu is {config.jobs.train.gpu}, one process each: set one of them to false or 1 (task {task})"
        )
    check_feasible(config, task, method, write, write_in_force)
    _check_evaluation(config, task, in_force, write_in_force)
    family = in_force["data"].family
    if in_force["noise"].kind == "task" and not FAMILIES[family].task_noise:
        raise UserError(
            f"{write_in_force('noise', 'kind')} is 'task', but must be one of random, unigram, model in a task of "
            f"{family} (task {task})"
        )


def _check_evaluation(config: Config, task: str, in_force: InForce, write_in_force: WriteInForce) -> None:
    """Check that the measurements exist in the task's family."""
    data, evaluation = in_force["data"], in_force["evaluation"]
    if "task" in evaluation.corruptions and not FAMILIES[data.family].task_noise:
        raise UserError(
            f"{write_in_force('evaluation', 'corruptions')} holds 'task', but may hold random, unigram and model alone "
            f"in a task of {data.family} (task {task})"
        )
    _check_perturbed(evaluation.decodings, config.tasks[task], write_in_force("evaluation", "decodings"))
    if not FAMILIES[data.family].judged:
        return
    if evaluation.max_actions < data.lengths[1]:
        raise UserError(
            f"{write_in_force('evaluation', 'max_actions')} is {evaluation.max_actions}, but must be at least "
            f"data.continuation ({data.lengths[1]}), and more, so that deletions leave as many tokens (task {task})"
        )
    if not evaluation.judge and config.judge_method is None:
        raise UserError(
            f"{write_in_force('evaluation', 'judge')} is empty, and no method has the loss mle, whose models would "
            f"judge text: name a causal LM, or add such a method (task {task})"
        )
