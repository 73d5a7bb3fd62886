"""Checks of a configuration beyond the type and bounds of each setting: names exist, and settings fit together.

Every check raises UserError with the file and key of the mistake. ``write`` names these: it turns a place such as
``("model", "width")`` into ``config.yaml: model.width``.
"""

import itertools
from collections.abc import Callable, Collection
from pathlib import Path

from sequencematch.config.experiment import SECTIONS, Config
from sequencematch.config.feasible import check_in_force, check_perturbed
from sequencematch.config.names import check_names
from sequencematch.data import documents, pairs
from sequencematch.errors import UserError, at
from sequencematch.settings.data import Language, Translation
from sequencematch.settings.explain import unknown, validated
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.map import Map, readings_of
from sequencematch.settings.model import Model

# The settings of the schedule that fine-tuning alone reads, so that methods may differ in them.
OF_FINE_TUNING = {"beta_final", "beta_steps"}

Write = Callable[[tuple], str]


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
                check_perturbed([side.decoding], config.tasks[side.task], f"{place}, cell '{reading.at}'")


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

    check_in_force(config, task, method, write)
