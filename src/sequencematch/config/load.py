"""Reads the configuration of an experiment: a base file and overlays, merged key by key (null removes a key)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from sequencematch.config.checks import check
from sequencematch.config.experiment import DEFAULT_SCALE, Config
from sequencematch.errors import UserError
from sequencematch.settings.explain import unknown, validated
from sequencematch.store.files import read_text, reason

MOST_BYTES, MOST_VALUES = 2**20, 100_000  # of a configuration file
PROJECT, DATA = Path(__file__).resolve().parents[3], "workflow/scales/"  # files that scales bring are below DATA


def scale_overlay(folder: Path, name: str | None) -> list[Path]:
    """The files in ``folder`` that make the scale ``name``, the one it extends first. None for the default scale."""
    files = {file.stem: file for file in sorted(Path(folder).glob("*.yaml"))}
    if DEFAULT_SCALE in files:
        raise UserError(
            f"{files[DEFAULT_SCALE]}: '{DEFAULT_SCALE}' is the scale of config.yaml itself; rename the file"
        )
    chosen: list[Path] = []
    name = DEFAULT_SCALE if name is None else name
    while name != DEFAULT_SCALE:
        if not isinstance(name, str) or name not in files:
            raise UserError(unknown(f"scale '{name}'", str(name), [DEFAULT_SCALE, *files]))
        if files[name] in chosen:
            raise UserError(f"{files[name]}: extends is '{name}', which extends this scale in turn")
        chosen.insert(0, files[name])
        values = read_yaml(files[name])
        if values.get("scale") != name:
            said = f"is {values['scale']!r}" if "scale" in values else "is missing"
            raise UserError(f"{files[name]}: scale {said}, but must be '{name}', like the file")
        name = values.get("extends") or DEFAULT_SCALE
    return chosen


def run_name(name: object, scales: Path) -> str:
    """The name of a run's own folder under results/. Raises UserError where a scale or the reference has that name."""
    taken = {DEFAULT_SCALE, "reference", *(file.stem for file in Path(scales).glob("*.yaml"))}
    if str(name) in taken:
        raise UserError(f"NAME is '{name}', which is taken by results of the project: choose another name")
    return str(name)  # of what it may consist, the configuration says, whose ``scale`` it becomes


def load_config(*sources: Path | tuple[str, dict]) -> Config:
    """The checked configuration of a base file and its overlays; later overlays take precedence.

    An overlay is a YAML file, or a mapping with the name that errors give it. Raises UserError with the file and key.
    """
    named: list[tuple[str, dict]] = []
    merged: dict = {}
    for source in sources:
        if isinstance(source, tuple):
            named.append((source[0], _mapped(source[1], _or_null)))
        else:
            named.append((str(source), _mapped(read_yaml(Path(source)), _from_here)))
        merged = _merge(merged, named[-1][1])

    def write(place: tuple) -> str:
        return f"{_origin(named, place)}: {'.'.join(map(str, place))}"

    config = validated(Config, _with_base(merged), write)
    check(config, write)
    return config


def _with_base(merged: dict) -> dict:
    """The settings, in which those of a task's ``base`` hold for the task too, where it has none of its own.

    Data of its own replace the base's whole: keys of two families would not fit together.
    """
    tasks = merged.get("tasks")
    if not isinstance(tasks, dict):
        return merged

    def completed(task):
        base = tasks.get(task["base"]) if isinstance(task, dict) and isinstance(task.get("base"), str) else None
        if not isinstance(base, dict):
            return task
        return _merge(base, task) | ({"data": task["data"]} if "data" in task else {})

    return merged | {"tasks": {name: completed(task) for name, task in tasks.items()}}


def read_yaml(file: Path) -> dict:
    """The mapping in a YAML file, read safely. A key that occurs twice is an error."""
    if not file.exists():
        raise UserError(f"'{file}' does not exist")
    text = read_text(file, "write it again", MOST_BYTES)
    try:
        loader = _UniqueKeys(text)
        node = loader.get_single_node()
        _check_size(node)
        values = loader.construct_document(node) if node else None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}, line {mark.line + 1}" if mark else str(file)
        raise UserError(f"{where}: not valid YAML ({getattr(error, 'problem', None) or reason(error)})") from None
    if not isinstance(values, dict | None):
        raise UserError(f"{file}: holds no settings (key: value)")
    return values or {}


def _check_size(node: yaml.Node | None) -> None:
    """Raises ValueError where aliases (``*name``) unfold to very much, or to a group that holds itself."""
    waiting, seen = [node], 0
    while waiting:
        node, seen = waiting.pop(), seen + 1
        if seen > MOST_VALUES:
            raise ValueError(f"it unfolds to more than {MOST_VALUES:,} values: an alias may hold itself")
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _mapped(value, change: Callable):
    """Settings, with every value in their groups and lists as ``change`` makes it."""
    if isinstance(value, dict):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    return [_mapped(inner, change) for inner in value] if isinstance(value, list) else change(value)


def _or_null(value):
    """``null`` instead of that word, which a command line hands on as text."""
    return None if isinstance(value, str) and value in ("null", "Null", "NULL", "~") else value


def _from_here(value):
    """The path of the project's own data as it is from the working folder."""
    foreign = isinstance(value, str) and value.startswith(DATA) and not Path(value).exists()
    return str(PROJECT / value) if foreign else value


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float):
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is no name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} occurs here twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _merge(below: dict, above: dict) -> dict:
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged[key] if isinstance(merged.get(key), dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _origin(named: Sequence[tuple[str, dict]], place: tuple) -> str:
    """The last source that says anything about ``place``, or about the closest group around it."""
    for length in range(len(place), 0, -1):
        for name, values in reversed(named):
            for key in place[:length]:
                values = values.get(key) if isinstance(values, dict) else None
            if values is not None:
                return name
    return named[0][0]
