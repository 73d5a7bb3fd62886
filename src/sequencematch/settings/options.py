"""Settings as options of a command line: defined in a parser, read back and checked, and written."""

import argparse
import shlex
from collections.abc import Collection
from typing import TypeVar, get_args

from pydantic import ValidationError

from sequencematch.errors import UserError
from sequencematch.settings.explain import allowed, sentence
from sequencematch.settings.section import Section

SomeSection = TypeVar("SomeSection", bound=Section)


def add_settings(
    parser: argparse.ArgumentParser, section: type[Section], only: Collection[str] | None = None, prefix: str = ""
) -> None:
    """One option per setting of ``section``, with its default, allowed values and meaning in the help.

    ``only`` names some of them; ``prefix`` goes before their names, where two sections of a script would share some.
    Values stay text here; ``settings_from`` converts and checks them.
    """
    group = parser.add_argument_group(f"{section.__name__.lower()} settings")
    for name in _variable(section, only):
        field = section.model_fields[name]
        default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        meaning = f"{field.description} ({allowed(section, name)}; default: {default})".replace("%", "%%")
        if field.annotation is bool:
            kind = {"action": argparse.BooleanOptionalAction}
        elif isinstance(field.default, tuple):
            kind = {"nargs": "*", "metavar": "X"}
        else:
            kind = {"metavar": "X"}
        group.add_argument(_option(prefix + name), help=meaning, default=field.default, **kind)


def settings_from(args: argparse.Namespace, section: type[SomeSection], prefix: str = "") -> SomeSection:
    """The settings of ``section`` that ``add_settings`` put into ``args``, checked; others have their defaults.

    Raises UserError naming the option, its value and what is allowed.
    """
    given = {name: getattr(args, prefix + name) for name in _variable(section) if hasattr(args, prefix + name)}
    try:
        return section.model_validate(given)
    except ValidationError as error:
        raise UserError(sentence(error, section, lambda place: _option(prefix + place[0]) if place else "")) from None


def options(section: Section, only: Collection[str] | None = None, prefix: str = "") -> str:
    """The settings (or ``only`` some) as a command line that ``add_settings`` reads back, quoted for the shell."""
    words = []
    for name in _variable(type(section), only):
        value = getattr(section, name)
        option = _option(prefix + name)
        if isinstance(value, bool):
            words.append(option if value else _option(f"no_{prefix}{name}"))
        elif isinstance(value, tuple):
            words += [option, *map(str, value)]
        elif str(value).startswith("-"):  # as a word of its own it could be taken for an option
            words.append(f"{option}={value}")
        else:
            words += [option, str(value)]
    return shlex.join(words)


def _variable(section: type[Section], only: Collection[str] | None = None) -> list[str]:
    """The names of a section's settings that can be chosen: those with one possible value, as a family, cannot."""
    fields = section.model_fields.items()
    return [n for n, field in fields if len(get_args(field.annotation)) != 1 and (only is None or n in only)]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
