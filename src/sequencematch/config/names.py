"""Checks of names and numbers that become folders, files and rules: each must be unique and valid there."""

from collections.abc import Callable, Iterable, Iterator
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
TABLE_RESERVED = {REFERENCE, *RULES}
LONGEST_NAME = 100  # characters; a file's name has 255 at most, and more than one name may be in it


def check_names(config: Config, write: Write) -> None:
    """Raises UserError if a name is too long, reserved or another one on disk, or a number loses digits in a path."""
    if config.scale.casefold() in SCALE_RESERVED:
        raise UserError(f"{write(('scale',))} is '{config.scale}', a name with another meaning: rename the scale")
    for tables in ("tables", "overheads"):
        for name in getattr(config, tables):
            if name.casefold() in TABLE_RESERVED:
                raise UserError(f"{write((tables, name))}: a rule of the workflow has this name; rename the table")
    if len(config.scale) > LONGEST_NAME:
        raise UserError(f"{write(('scale',))} is a name of {len(config.scale)} characters, but may have {LONGEST_NAME}")
    for group, names in _groups(config):
        for name in names:
            if len(name) > LONGEST_NAME:
                raise UserError(
                    f"{write((*group, name[:20]))}... is a name of {len(name)} characters, but may have {LONGEST_NAME}"
                )
        _check_distinct(names, group, write)
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


def _check_distinct(names: Iterable[str], group: tuple, write: Write) -> None:
    """Check that names differ by more than case.

    Otherwise they are one folder on some file systems (macOS, Windows).
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise UserError(
                f"{write((*group, name))}: it differs from '{other}' only in case, and some file systems ignore case; "
                "rename it"
            )


def _etas(config: Config) -> Iterator[tuple[tuple, float]]:
    yield from ((("etas",), eta) for eta in config.etas)
    if config.map:
        yield ("map", "eta"), config.map.eta
        for name, axis in config.map.axes.items():
            yield from ((("map", "axes", name, "cells"), cell.eta) for cell in axis.cells if cell.eta is not None)


def _check_characters(values: Any, place: tuple, write: Write) -> None:
    """Check that no text has half a character or a zero byte, which no file and no command can hold."""
    if isinstance(values, dict):
        for key, value in values.items():
            _check_characters(value, (*place, key), write)
    elif isinstance(values, list | tuple):
        for value in values:
            _check_characters(value, place, write)
    elif isinstance(values, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in values):
        raise UserError(f"{write(place)} is {values[:40]!r}, which holds a character that no file can: correct it")
