"""Checks of names and numbers that become folders, files and rules: each must be unique and valid there."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from sequencematch.config.experiment import Config
from sequencematch.errors import UserError

Write = Callable[[tuple], str]

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


def check_names(config: Config, write: Write) -> None:
    """Raises UserError if a name is reserved or another one on disk, or a number loses digits in a path."""
    # A scale is a folder alone, so it may have the name of the rule that it is made for.
    if config.scale.casefold() in {REFERENCE, *RULES} - {"map"}:
        raise UserError(f"{write(('scale',))} is '{config.scale}', a name with another meaning: rename the scale")
    for group, names in _groups(config):
        reserved, why = RESERVED.get(group[-1], (set(), ""))
        seen: dict[str, str] = {}
        for name in names:
            if name.casefold() in reserved:
                raise UserError(f"{write((*group, name))}: {why}")
            other = seen.setdefault(name.casefold(), name)
            if other != name:  # one folder on some file systems (macOS, Windows)
                raise UserError(
                    f"{write((*group, name))}: it differs from '{other}' only in case, and some file systems ignore "
                    "case; rename it"
                )
    for place, eta in _etas(config):
        if float(f"{eta:g}") != eta:
            raise UserError(
                f"{write(place)} is {eta!r}, but its folder would be named eta={eta:g}: write it with up to six digits"
            )


def _groups(config: Config) -> Iterator[tuple[tuple, list[str]]]:
    """The names in each folder of the results, and the place of the configuration that they come from."""
    for group in ("sources", "tasks", "methods", "tables", "overheads"):
        yield (group,), list(getattr(config, group))
    if config.map:
        yield ("map", "axes"), list(config.map.axes)


def _etas(config: Config) -> Iterator[tuple[tuple, float]]:
    yield from ((("etas",), eta) for eta in config.etas)
    if config.map:
        yield ("map", "eta"), config.map.eta
        for name, axis in config.map.axes.items():
            yield from ((("map", "axes", name, "cells"), cell.eta) for cell in axis.cells if cell.eta is not None)
