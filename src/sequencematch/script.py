"""What every script's command line shares: common options, and errors as one sentence."""

import argparse
import errno
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from sequencematch import kernels
from sequencematch.errors import UserError
from sequencematch.store.provenance import output, record

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# Errors of the machine. Any other OSError is a mistake in the program and keeps its traceback. They are told in the
# system's words, where these do not say more.
TOLD = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "the file is larger than the limit",
    **dict.fromkeys((errno.EEXIST, errno.ENOTEMPTY), "something else is there"),
    errno.EMFILE: "too many files are open (see ulimit -n)",
    errno.EAGAIN: "too many processes or threads (see ulimit -u)",
}
REFUSED = {
    *(*TOLD, *FULL, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTDIR),
    *(errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENFILE),
}
MEMORY = (
    "the memory is used up: use smaller batches (optimiser.micro_batch, rollouts.generate, evaluation.batch), fewer "
    "jobs at a time, or a machine with more"
)
# How libraries say these things in errors of their own.
OUT_OF_MEMORY = re.compile(r"can't allocate memory|out of memory|std::bad_alloc|can't start new thread", re.IGNORECASE)
ERROR_NUMBER = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
# The extra of pyproject.toml that installs a module which the library does not need.
EXTRAS = {
    **dict.fromkeys(("babel", "datasets", "mathematics_dataset", "num2words", "rich", "snakemake", "yaml"), "pipeline"),
    **dict.fromkeys(("bitsandbytes", "peft"), "qlora"),
    "gguf": "pretrained",
    **dict.fromkeys(("faiss", "mauve", "sklearn"), "judge"),
    **dict.fromkeys(("jinja2", "markdown_it", "matplotlib", "sacrebleu", "scipy"), "report"),
}
# Seconds that the other processes of a job wait for rank 0 to report an error that concerns all.
PATIENCE = 20
# Variables that a launcher of several processes sets, and the one that shows that it did.
PROCESS_VARIABLES = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1}
LAUNCHED = "TORCHELASTIC_RUN_ID"
# What this process was asked for: its options, and the outputs among them.
_parsed: list[tuple[argparse.Namespace, list[Path]]] = []


def parser(description: str) -> argparse.ArgumentParser:
    """A parser that prints ``description`` as written and takes no abbreviated options."""
    return Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        for kind in (int, float):
            self.register("type", kind, plain(kind))

    def parse_args(self, *arguments, **options):
        """The options. ``run`` writes the records of the outputs among them."""
        found = super().parse_args(*arguments, **options)
        outputs = [getattr(found, action.dest, None) for action in self._actions if action.type is output]
        _parsed.append((found, [path for path in outputs if path is not None]))
        return found

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one sentence on stderr."""
        self.exit(2, f"error: {printable(message)} (see {self.prog} --help)\n")


def plain(kind: type, *bounds: float) -> Callable:
    """A converter to a number, within two bounds if given, that takes no ``1_2``, digits of other scripts or blanks."""

    def convert(text: str):
        if not text.isascii() or "_" in text or text != text.strip():
            raise ValueError
        value = kind(text)
        if bounds and not bounds[0] <= value <= bounds[1]:
            raise argparse.ArgumentTypeError(f"must lie between {bounds[0]:g} and {bounds[1]:g}, not {text[:40]}")
        return value

    convert.__name__ = kind.__name__
    return convert


def add_initial_option(parser: argparse.ArgumentParser) -> None:
    """The model that every stage but the first starts from."""
    parser.add_argument("--initial", type=Path, required=True, help="model folder to start from")


def add_stage_options(parser: argparse.ArgumentParser) -> None:
    """The files that every training script reads and writes."""
    parser.add_argument("--noised", type=Path, required=True, help="folder of noised examples to train on")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of the tokenizer")
    parser.add_argument("--output", type=output, required=True, help="model folder to write")
    parser.add_argument("--resume", type=Path, required=True, help="folder for this run's checkpoints")
    parser.add_argument("--seed", type=int, required=True, help="seed of this run")
    add_device_options(parser)


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """The number of GPUs that the job was promised (it ends at once if they are missing), and kernels on the CPU."""
    parser.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs there must be (default: 0)")
    add_kernels_option(parser)


def add_kernels_option(parser: argparse.ArgumentParser) -> None:
    """The kernels that torch uses on the CPU; ``run`` reads it before torch is imported."""
    meaning = "of the CPU: of AVX2 (portable, default), alike on all makers' CPUs (compatible), its fastest (native)"
    parser.add_argument("--kernels", choices=kernels.CHOICES, default="portable", help=meaning)


def run(main: Callable[[], None], threads: int | None = 1, records: bool = True) -> None:
    """Run a script's ``main``; what the user can fix becomes one sentence on stderr and exit status 1.

    records: write the record of each output that the options name; otherwise ``main`` does. threads: of torch, unless
    OMP_NUM_THREADS is set, as it is in the workflow's jobs; None: torch decides. In a small model, threads on all cores
    wait for each other.

    Where several processes fail for the same reason, the first one says so. The others wait, and are ended by its end.
    """
    if threads is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read when torch is imported, in ``main``
    asked = [c for c in kernels.CHOICES if f"--kernels={c}" in sys.argv or ("--kernels", c) in pairwise(sys.argv)]
    kernels.choose(asked[-1] if asked else "portable")  # the same
    try:
        _parsed.clear()
        main()
        for args, outputs in _parsed if records else ():
            record(args, *outputs)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # as in ``... | head``: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        if LAUNCHED in os.environ and os.environ.get("RANK", "0") != "0":
            time.sleep(PATIENCE)
        words = explanation(error)
        if words is None:
            raise
        sys.exit(f"error: {printable(words)}")


def printable(words: str) -> str:
    """A message as one line, with all characters escaped that a terminal does not print."""
    line = " ".join(words.splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def explanation(error: BaseException) -> str | None:
    """What went wrong, in a sentence that says what to do; None for a mistake in the program.

    The causes of an error are looked at too, because libraries raise their own errors from those of the machine.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        if isinstance(cause, ModuleNotFoundError) and cause.name and cause.name.partition(".")[0] in EXTRAS:
            module = cause.name.partition(".")[0]
            return f"this needs the package '{module}': pip install 'sequencematch[{EXTRAS[module]}]'"
        if isinstance(cause, ModuleNotFoundError) and (cause.name or "").startswith("sequencematch."):
            return f"this needs '{cause.name}', which the wheel leaves out: run it in a clone of the project"
        if isinstance(cause, MemoryError) or OUT_OF_MEMORY.search(str(cause)):
            return MEMORY
        number = ERROR_NUMBER.search(str(cause))
        code = getattr(cause, "errno", None) or (int(number[1] or number[2]) if number else None)
        if code == errno.ENOMEM:
            return MEMORY
        if code in REFUSED:
            return _refusal(code, getattr(cause, "filename", None))
        if isinstance(cause, FileNotFoundError) and "temporary directory" in str(cause):
            return f"{cause.strerror}: set TMPDIR to a folder with free space"
        cause = cause.__cause__
    return None


def processes() -> tuple[int, int]:
    """This process's rank among those that a launcher started together, and their number: (0, 1) if it is alone.

    Raises UserError if the environment names several processes, but no launcher started this one.
    """
    given = {name: os.environ[name] for name in PROCESS_VARIABLES if name in os.environ}
    try:
        numbers = {name: int(given.get(name, default)) for name, default in PROCESS_VARIABLES.items()}
    except ValueError:
        numbers = {}
    sound = bool(numbers) and 0 <= numbers["RANK"] < numbers["WORLD_SIZE"]
    alone = sound and numbers["WORLD_SIZE"] == 1 and numbers["LOCAL_RANK"] <= 0
    if not alone and not (sound and LAUNCHED in os.environ and "MASTER_ADDR" in os.environ):
        named = ", ".join(f"{name}={value}" for name, value in given.items())
        raise UserError(
            f"the environment says that this is one of several processes ({named}), but no launcher started it: "
            f"unset {' '.join(PROCESS_VARIABLES)}, or start it with accelerate launch"
        )
    return numbers["RANK"], numbers["WORLD_SIZE"]


def check_writable(folder: Path) -> None:
    """Raises UserError if no file can be written below ``folder``, which need not exist yet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**19))  # as much as the solver of Snakemake needs
    except OSError as error:
        raise UserError(_refusal(error.errno, error.filename or str(folder))) from None


def check_temporary() -> None:
    """Raises UserError where a folder that the environment names for temporary files cannot be written to."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        if os.path.isdir(os.environ.get(name, "")):
            check_writable(Path(os.environ[name]))


def _refusal(code: int | None, file: str | None) -> str:
    where = f"'{os.fsdecode(file)}'" if isinstance(file, str | bytes | os.PathLike) else "the results"
    verb = "writing" if code in FULL else "using"
    told = TOLD.get(code or 0, os.strerror(code or 0).lower())
    return f"{verb} {where} failed, {told}; fix that and run this again"
