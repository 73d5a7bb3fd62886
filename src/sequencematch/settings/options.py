"""Settings as options of a command line: defined in a parser, read back and checked, and written.

An option has the setting's name in the configuration, section included: ``--objective.alpha 0.03``. A setting that a
script needs has no default there; the configuration gives every value.
"""

import argparse
import shlex
from collections.abc import Collection
from typing import TypeVar, get_args

from sequencematch.errors import UserError
from sequencematch.settings.explain import allowed, validated
from sequencematch.settings.section import Section

SomeSection = TypeVar("SomeSection", bound=Section)


def add_settings(parser: argparse.ArgumentParser, section: type[Section], only: Collection[str] | None = None) -> None:
    """One option of text per setting of ``section`` (or ``only`` some), its meaning and allowed values in the help."""
    group = parser.add_argument_group(f"{section.group()} settings")
    for name in _variable(section, only):
        field = section.model_fields[name]
        group.add_argument(
            option(section, name),
            metavar="X",
            nargs="*" if isinstance(field.default, tuple) else None,
            default=argparse.SUPPRESS,
            help=f"{field.description} ({allowed(section, name)})".replace("%", "%%"),
        )


def settings_from(
    args: argparse.Namespace, section: type[SomeSection], needed: Collection[str] | None = None
) -> SomeSection:
    """The settings of ``section`` that ``add_settings`` put into ``args``, checked.

    needed: names of those that must be given (default: all). Others have the default of their class, and the script
    does not read them. Raises UserError naming the option, its value and what is allowed.
    """
    given = {n: vars(args)[key] for n in _variable(section) if (key := f"{section.group()}.{n}") in vars(args)}
    missing = [name for name in _variable(section, needed) if name not in given]
    if len(missing) == 1:
        raise UserError(f"{option(section, missing[0])} is missing: it must be {allowed(section, missing[0])}")
    if missing:
        raise UserError(f"{', '.join(option(section, n) for n in missing)} are missing: give each a value (see --help)")
    return validated(section, given, lambda place: option(section, place[0]) if place else "")


def options(section: Section, only: Collection[str] | None = None) -> str:
    """The settings (or ``only`` some) as a command line that ``add_settings`` reads back, quoted for the shell."""
    words = []
    for name in _variable(type(section), only):
        value = getattr(section, name)
        if isinstance(value, tuple):
            words += [option(type(section), name), *map(str, value)]
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            # As a word of its own, a value that begins with a dash could be taken for an option.
            key = option(type(section), name)
            words += [f"{key}={text}"] if text.startswith("-") else [key, text]
    return shlex.join(words)


def option(section: type[Section], name: str) -> str:
    """The option of a setting: ``--objective.alpha``."""
    return f"--{section.group()}.{name}"


def _variable(section: type[Section], only: Collection[str] | None = None) -> list[str]:
    """The names of a section's settings that can be chosen: those with one possible value, as a family, cannot."""
    fields = section.model_fields.items()
    return [n for n, field in fields if len(get_args(field.annotation)) != 1 and (only is None or n in only)]
