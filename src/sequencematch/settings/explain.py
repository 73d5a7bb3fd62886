"""Error messages about settings: one sentence with what is wrong and what would be right."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sequencematch.errors import UserError

Group = TypeVar("Group", bound=BaseModel)

BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
LONGEST = 200  # characters of a value that a message shows
GROUP = "a group of settings"
KINDS = {"integer": "an integer", "number": "a number", "string": "text", "boolean": "true or false"}


def allowed(model: type[BaseModel], name: str) -> str:
    """The values a field of ``model`` takes, in words: ``a number above 0 and below 1``."""
    return _allowed(model.model_json_schema()["properties"][name])


def validated(model: type[Group], values: Mapping, write: Callable[[tuple], str]) -> Group:
    """The group of settings. Raises UserError with the first problem; ``write`` names places."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(sentence(error, model, write)) from None


def sentence(error: ValidationError, model: type[BaseModel], write: Callable[[tuple], str]) -> str:
    """The first problem of ``error``, whose place, like ``("model", "width")``, is named by ``write``."""
    problem = error.errors()[0]
    owner, place = _owner(model, problem["loc"])
    path = write(place)
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error":  # a check of several settings: its message names them
        return f"{path}: {message}" if path else message
    name = str(place[-1])
    if name == "[key]":
        return f"{write(place[:-1])}: a name may have letters, digits, '-' and '_' alone, at most 100"
    if problem["type"] == "extra_forbidden":
        return unknown(path, name, owner.model_fields)
    if problem["type"] in ("union_tag_not_found", "union_tag_invalid") and isinstance(problem["input"], dict):
        members = _members(owner.model_fields[name])
        kind, member = next(iter(members.items()))
        tag = next(key for key, field in member.model_fields.items() if get_args(field.annotation) == (kind,))
        lacks = f"is {problem['input'][tag]!r}, but" if tag in problem["input"] else "is missing: it"
        return f"{write((*place, tag))} {lacks} must be one of {', '.join(members)}"
    if problem["type"] == "missing":
        lacks = "is missing" if place[-1] == problem["loc"][-1] else "has too few values"
        return f"{path} {lacks}: it must be {allowed(owner, name)}"
    if name not in owner.model_fields:  # a whole entry of a mapping
        return f"{path} is {problem['input']!r}, but must be {GROUP}"
    shown = repr(problem["input"])
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
    return f"{path} is {shown}, but must be {allowed(owner, name)}"


def unknown(path: str, name: str, known: Iterable[str]) -> str:
    """A message for a name that does not exist, with the name probably meant, or else all there are."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known are: {', '.join(known)}"
    return f"{path} is unknown; {hint}"


def _allowed(schema: dict) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_allowed(kind) for kind in schema["anyOf"] if kind.get("type") != "null")
    if schema.get("type") == "array":
        each = schema.get("items") or schema["prefixItems"][0]
        count = f"{schema['minItems']} values" if "prefixItems" in schema else "a list"
        return f"{count}, each {_allowed(each)}"
    if {"$ref", "oneOf"} & set(schema) or schema.get("type") == "object":
        return GROUP
    bounds = " and ".join(f"{words} {_number(schema[key])}" for key, words in BOUNDS.items() if key in schema)
    pattern = " of letters, digits, '-' and '_'" if "pattern" in schema else ""
    return f"{KINDS.get(schema.get('type', ''), 'a value')}{pattern} {bounds}".strip()


def _number(value: float) -> str:
    """A bound as it may be written for the setting: 1048576, not 1.04858e+06."""
    return str(int(value)) if value == int(value) and abs(value) < 10**15 else f"{value:g}"


def _members(field) -> dict[str, type[BaseModel]]:
    """The groups of settings that a field may hold, by their tag."""
    return {tag.tag: model for model, tag in map(get_args, get_args(field.annotation))}


def _owner(model: type[BaseModel], loc: tuple) -> tuple[type[BaseModel], tuple]:
    """The model inside ``model`` that an error at ``loc`` belongs to, and ``loc`` up to that model's field, as keys."""
    for depth, name in enumerate(loc, start=1):
        field = model.model_fields.get(name)
        if field is None:
            return model, loc[:depth]
        kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]  # of ``Group | None``, the group
        inner: Any = kinds[0] if get_origin(field.annotation) is UnionType and len(kinds) == 1 else field.annotation
        container = get_origin(inner)
        if field.discriminator and depth < len(loc):  # the next step names the member, and is no key
            owner, rest = _owner(_members(field)[loc[depth]], loc[depth + 1 :])
            return owner, loc[:depth] + rest
        if container in (tuple, dict) and depth < len(loc):  # the next step is a place or a key, then the value's own
            value = get_args(inner)[0 if container is tuple else 1]
            if depth + 1 < len(loc) and _is_group(value):
                owner, rest = _owner(value, loc[depth + 1 :])
                return owner, loc[: depth + 1] + rest
            return model, loc[:depth] if container is tuple else loc[: depth + 1]
        if depth == len(loc) or not _is_group(inner):
            return model, loc[:depth]
        model = inner
    return model, loc


def _is_group(annotation) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
