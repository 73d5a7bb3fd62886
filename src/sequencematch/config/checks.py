"""Checks of a configuration beyond the type and bounds of each setting: names exist, and settings fit together.

Every check raises UserError with the file and key of the mistake. ``write`` names these: it turns a place such as
``("model", "width")`` into ``config.yaml: model.width``.
"""

import itertools
import re
from collections.abc import Collection
from pathlib import Path

from sequencematch.config.experiment import SECTIONS, Config
from sequencematch.config.feasible import Write, check_in_force, check_perturbed
from sequencematch.data import documents, pairs
from sequencematch.errors import UserError, at
from sequencematch.settings.data import Language, Translation
from sequencematch.settings.explain import unknown, validated
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.losses import BASE_READS
from sequencematch.settings.map import Map, readings_of
from sequencematch.settings.model import Model
from sequencematch.settings.options import options

# The settings of the schedule that fine-tuning alone reads, so that methods may differ in them.
OF_FINE_TUNING = {"beta_final", "beta_steps"}

# The rules of the workflow. Each table is a rule of its own, and a target of make.
WORKFLOW = Path(__file__).parents[3] / "workflow"
RULE_FILES = (WORKFLOW / "Snakefile", *sorted((WORKFLOW / "rules").glob("*.smk")))
RULES = {name for file in RULE_FILES for name in re.findall(r"^rule (\w+):", file.read_text(encoding="utf-8"), re.M)}
REFERENCE = "reference"  # the folder of kept tables, among those of the scales
# Names that other folders, rules and figures have, by the part of the configuration, and why they are reserved.
OF_A_FOLDER = "this name is taken by a folder of the results; rename it"
OF_A_RULE = {REFERENCE, *RULES}, "a rule of the workflow has this name; rename the table"
RESERVED: dict[str, tuple[set[str], str]] = {
    "tasks": ({"tables", "overheads", "figures", "map", "logs", "benchmarks"}, OF_A_FOLDER),
    "methods": ({"data", "tokenizer", "examples", "noised", "base", "pretrain_bc"}, OF_A_FOLDER),
    "tables": OF_A_RULE,
    "overheads": OF_A_RULE,
    "axes": ({"map", "summary", "cost"}, "this name is taken by another figure of the map; rename it"),
}


def check(config: Config, write: Write) -> None:
    """Raises UserError where names or settings of the configuration do not fit together."""
    _check_names(config, write)
    _check_references(config, write)
    for task in config.tasks:
        _check_source(config, task, write)
        for method in (None, *config.methods):
            _check_settings(config, task, method, write)
    for task in config.tasks:
        _check_base(config, task, write)
    for name in config.overheads:
        _check_overhead(config, name, write)


def _check_names(config: Config, write: Write) -> None:
    """Check the names and numbers that become folders, files and rules: each must be unique and valid there."""
    # A scale is a folder alone, so it may have the name of the rule that it is made for.
    if config.scale.casefold() in {REFERENCE, *RULES} - {"map"}:
        raise UserError(f"{write(('scale',))} is '{config.scale}', a name with another meaning: rename the scale")
    groups: dict[tuple, Collection[str]] = {
        (group,): getattr(config, group) for group in ("sources", "tasks", "methods", "tables", "overheads")
    }
    etas: list[tuple[tuple, float]] = [(("etas",), eta) for eta in config.etas]
    if config.map:
        groups["map", "axes"] = config.map.axes
        etas.append((("map", "eta"), config.map.eta))
        cells = [(name, cell.eta) for name, axis in config.map.axes.items() for cell in axis.cells]
        etas += [(("map", "axes", name, "cells"), eta) for name, eta in cells if eta is not None]
    for group, names in groups.items():
        reserved, why = RESERVED.get(group[-1], (set(), ""))
        seen: dict[str, str] = {}
        for name in names:
            if name.casefold() in reserved:
                raise UserError(f"{write((*group, name))}: {why}")
            other = seen.setdefault(name.casefold(), name)
            if other != name:  # one folder on some file systems (macOS, Windows)
                raise UserError(f"{write((*group, name))}: some file systems take it for '{other}'; rename it")
    for place, eta in etas:
        if float(f"{eta:g}") != eta:
            raise UserError(f"{write(place)} is {eta!r}, but its folder would be eta={eta:g}: write up to six digits")


def _check_references(config: Config, write: Write) -> None:
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
                    f"{write(('tables', name, 'methods'))} holds '{method}', which needs a reference for each prompt, "
                    f"and {family} has none (task {table.task}): leave it out"
                )
    if config.map:
        _check_map(config, config.map, write)


def _check_map(config: Config, described: Map, write: Write) -> None:
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
    table = config.overheads[name]
    values = config.model.model_dump() | table.model
    model = validated(Model, values, lambda place: write(("overheads", name, "model", *place)))
    with at(write(("overheads", name))):
        table.measured.check_fits(model)


def check_files(config: Config) -> None:
    """Raises UserError where a file of a corpus that a task needs is not there. Paths are relative to this folder."""
    for task in config.tasks:
        data, source = config.tasks[task].data, config.source(task)
        for file in itertools.chain(*source.files.values()) if source and isinstance(data, Language) else ():
            if file not in config.made and not Path(file).is_file():
                raise UserError(
                    f"'{file}' is not there (task {task}, sources.{data.source}): put it there, or name another"
                )


def _check_source(config: Config, task: str, write: Write) -> None:
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


def _check_base(config: Config, task: str, write: Write) -> None:
    """A base model is shared by tasks that differ in nothing that it reads. So results are as with one for each."""
    place, other = write(("tasks", task, "base")), config.base_task(task)
    if other == task:
        return
    _check_known(place, other, config.tasks)
    if config.tasks[other].base:
        raise UserError(f"{place}: {other} starts from that of '{config.tasks[other].base}' itself: name that one")
    for section, only in {"data": None, "model": None, **BASE_READS}.items():
        own, shared = (options(config.settings(name)[section], only) for name in (task, other))
        if own != shared:
            raise UserError(f"{place} is '{other}', whose {section} differs: share the base model of an equal task")


def _check_settings(config: Config, task: str, method: str | None, write: Write) -> None:
    """Check the settings in force, with the overrides applied: each section, then all together."""
    group, name = ("methods", method) if method else ("tasks", task)
    overrides = getattr(config, group)[name]

    def write_override(place: tuple) -> str:
        return write((group, name, section, *place))

    for section, values in config.merged(task, method).items():
        validated(SECTIONS[section], values, write_override)

    shared = set(getattr(overrides, "schedule", {})) - OF_FINE_TUNING if method else set()
    if shared:
        raise UserError(
            f"{write(('methods', method, 'schedule', min(shared)))} is shared by all methods of a task, which take the "
            f"same steps: set it for the task; a method may change {' and '.join(sorted(OF_FINE_TUNING))}"
        )

    check_in_force(config, task, method, write)
