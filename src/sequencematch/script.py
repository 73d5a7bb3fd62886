"""What every script's command line shares: settings as options, and errors as one sentence."""

import argparse
import errno
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import ValidationError

from sequencematch.errors import UserError
from sequencematch.settings.explain import allowed, sentence
from sequencematch.settings.section import Section

SomeSection = TypeVar("SomeSection", bound=Section)

# What a file system says when it cannot take more, and what to do about it.
STORAGE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "the file is larger than the limit",
}
# Seconds that the other processes of a job give the first one to say what went wrong for all.
PATIENCE = 20


def parser(description: str) -> argparse.ArgumentParser:
    """A parser that prints ``description`` as written and takes no abbreviated options."""
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=formatter, allow_abbrev=False)


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


def add_stage_options(parser: argparse.ArgumentParser) -> None:
    """The files every training script reads and writes."""
    parser.add_argument("--noised", type=Path, required=True, help="folder of noised examples to train on")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of the tokenizer")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    parser.add_argument("--resume", type=Path, required=True, help="folder for this run's checkpoints")
    parser.add_argument("--seed", type=int, required=True, help="seed of this run")
    add_gpus_option(parser)


def add_gpus_option(parser: argparse.ArgumentParser) -> None:
    """What a job was promised; it ends at once where that is missing, rather than crawl on a CPU."""
    parser.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs there must be (default: 0)")


def add_initial_option(parser: argparse.ArgumentParser) -> None:
    """The model that a stage after the first starts from."""
    parser.add_argument("--initial", type=Path, required=True, help="model folder to start from")


def run(main: Callable[[], None]) -> None:
    """Run a script's ``main``; what the user can mend becomes one sentence on stderr and exit status 1.

    Of several processes that fail alike the first one speaks. The others give it time, and are ended by its end.
    """
    try:
        main()
    except Exception as error:
        if int(os.environ.get("RANK", 0)) > 0:
            time.sleep(PATIENCE)
        if isinstance(error, UserError):
            sys.exit(f"error: {error}")
        if isinstance(error, OSError) and error.errno in STORAGE:
            sys.exit(f"error: {_storage_sentence(error)}")
        raise


def check_writable(folder: Path) -> None:
    """Raises UserError where no file can be written below ``folder``, which need not exist yet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"probe")
    except OSError as error:
        raise UserError(_storage_sentence(error)) from None


def _storage_sentence(error: OSError) -> str:
    where = f"'{error.filename}'" if error.filename else "the results"
    reason = STORAGE.get(error.errno, os.strerror(error.errno).lower())
    return f"writing {where} failed, {reason}; mend that and run this again"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
