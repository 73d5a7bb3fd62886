"""Checks of names and numbers that become folders, files and rules: each must be unique and valid there."""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from sequencematch.config.experiment import Config
from sequencematch.errors import UserError

Write = Callable[[tuple], str]

# The rules of the workflow. Each table is a rule of its own, and a target of make.
RULES = (
    *("all", "overheads", "map", "report", "motivating_example"),
    *("fetch_package", "convert_model", "extract_pairs", "extract_documents"),
    *("make_dataset", "train_tokenizer", "encode_examples", "inject_noise"),
    *("pretrain_base", "pretrain_bc", "finetune", "sample", "judge", "score"),
    *("make_table", "make_map", "make_report", "draw_rules"),
    *("measure_overheads", "make_overhead_table", "make_benchmark_table"),
    *("plot_growth", "plot_motivating_example", "plot_learning_curves", "plot_masks", "plot_backspaces"),
)
REFERENCE = "reference"  # the folder of kept tables, among those of the scales
# A scale is a folder alone, so it may have the name of the rule that it is made for.
SCALE_RESERVED = {REFERENCE, *RULES} - {"map"}
OF_A_RULE = {REFERENCE, *RULES}, "a rule of the workflow has this name; rename the table"
# Names that other folders, rules and figures have, by the part of the configuration, and why they are reserved.
RESERVED: dict[str, tuple[Collection[str], str]] = {
    "tasks": (
        ("tables", "overheads", "figures", "map", "logs", "benchmarks"),
        "this name is taken by a folder of the results; rename it",
    ),
    "methods": (
        ("data", "tokenizer", "examples", "noised", "base", "pretrain_bc"),
        "this name is taken by a folder of the results; rename it",
    ),
    "tables": OF_A_RULE,
    "overheads": OF_A_RULE,
    "axes": (("map", "summary", "cost"), "this name is taken by another figure of the map; rename it"),
}
LONGEST_NAME = 100  # characters; a file's name has 255 at most, and more than one name may be in it


def check_names(config: Config, write: Write) -> None:
    """Raises UserError if a name is too long, reserved or another one on disk, or a number loses digits in a path."""
    if config.scale.casefold() in SCALE_RESERVED:
        raise UserError(f"{write(('scale',))} is '{config.scale}', a name with another meaning: rename the scale")
    if len(config.scale) > LONGEST_NAME:
        raise UserError(f"{write(('scale',))} is a name of {len(config.scale)} characters, but may have {LONGEST_NAME}")
    for group, names in _groups(config):
        reserved, why = RESERVED.get(group[-1], ((), ""))
        seen: dict[str, str] = {}
        for name in names:
            if len(name) > LONGEST_NAME:
                shown = f"{write((*group, name[:20]))}..."
                raise UserError(f"{shown} is a name of {len(name)} characters, but may have {LONGEST_NAME}")
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
    for seed in config.seeds:
        if len(str(seed)) > LONGEST_NAME:
            raise UserError(f"{write(('seeds',))} holds a number of {len(str(seed))} digits; choose a shorter one")
    _check_characters(config.model_dump(), (), write)


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


def _check_characters(values: Any, place: tuple, write: Write) -> None:
    """Check that no text has half a character or a zero byte, which no file and no command can hold.

    Nor what would end the script of Snakemake's report, which shows titles and commands as they are.
    """
    if isinstance(values, dict):
        for key, value in values.items():
            _check_characters(value, (*place, key), write)
    elif isinstance(values, list | tuple):
        for value in values:
            _check_characters(value, place, write)
    elif isinstance(values, str) and (wrong := re.search("[\0\ud800-\udfff]|</script|<!--", values, re.IGNORECASE)):
        what = (
            "a character that no file can" if len(wrong[0]) == 1 else f"{wrong[0]!r}, which would end a report's page"
        )
        raise UserError(f"{write(place)} is {values[:40]!r}, which holds {what}: correct it")
