"""Where a result came from: commit, code, options, packages, machine, time; and the digests of its files.

Every result ``<name>`` of a script has a ``<name>.provenance.json`` next to it (``record``), which
``workflow/launcher/verify.py`` reads.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sequencematch import kernels
from sequencematch.errors import UserError
from sequencematch.store.code_digest import SOURCE, code_digest
from sequencematch.store.files import check_place, read_record, record_of, sha256, write_json

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "mathematics-dataset", "sympy")
# Variables that tell git of another repository than the one in the folder where it runs.
GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
STARTED = time.time()


def output(text: str) -> Path:
    """The path that an option names as a result of the running script, checked before any work.

    Nothing may be there, or an unchanged earlier result of the same script, as its record says. Raises UserError for
    whatever else would be lost or broken: files of others, links, devices, pipes.
    """
    check_place(text)
    path, other = Path(os.path.abspath(text)), "move it away, or name another path"
    script, there = Path(sys.argv[0]).name, os.path.lexists(path)
    if not os.path.lexists(record_of(path)):
        if there and not (path.is_dir() and not any(path.iterdir())):
            raise UserError(f"'{text}' is there, and no record says that {script} made it: {other}")
        return Path(text)
    check_place(record_of(path))
    made = read_record(path)
    if there and made.get("script") != script:
        raise UserError(f"'{text}' was made by {made.get('script')}, not by {script}: {other}")
    others = {f.name for f in path.rglob("*") if f.name[0] == "." or f.is_symlink() or not (f.is_file() or f.is_dir())}
    if there and (others - {".snakemake_timestamp"} or file_digests(path) != made["sha256"]):
        raise UserError(f"'{text}' was changed after {script} made it: {other}")
    return Path(text)


def record(args: argparse.Namespace, *outputs: Path) -> None:
    """Write the record of each output, a finished file or folder of the running script.

    In addition to ``describe()``, it has the script and the digest of its code, its options and their digest, the
    digest of each input that has a record of its own (``identity``) by the name of its option, and the SHA-256 of each
    file.
    """
    script = Path(sys.argv[0])
    options = {name: str(value) for name, value in sorted(vars(args).items())}
    facts = {
        "script": script.name,
        "code": code_digest(script),
        "options": options,
        "options_digest": hashlib.sha256(json.dumps(options).encode()).hexdigest(),
        "inputs": {
            name: identity(value)
            for name, value in sorted(vars(args).items())
            if isinstance(value, Path) and value not in outputs and record_of(value).exists()
        },
        **describe(),
    }
    for output in outputs:
        write_json(record_of(output), facts | {"sha256": file_digests(output)})


def identity(result: Path) -> str | None:
    """One digest of all files of a result, as its record states them; None where it has no record."""
    if not record_of(result).exists():
        return None
    return hashlib.sha256(json.dumps(sorted(read_record(result)["sha256"].items())).encode()).hexdigest()


def made_from(result: Path, option: str) -> str | None:
    """The identity of the input ``option`` that a result was made from; None if its record has none."""
    inputs = read_record(result).get("inputs") if record_of(result).exists() else None
    found = inputs.get(option) if isinstance(inputs, dict) else None
    return found if isinstance(found, str) else None


def check_made_from(result: Path, option: str, expected: str | None, what: str) -> None:
    """Raises UserError if the record of ``result`` names another input as ``option`` than the ``expected`` one.

    expected: an ``identity``; what: the input in words. There is no check if either side has no record.
    """
    found = made_from(result, option)
    if None not in (found, expected) and found != expected:
        raise UserError(f"'{result}' was not made with {what}, but with another one: make it again")


def check_one_tokenizer(tokenizer: Path, *results: Path) -> None:
    """Raises UserError where a result's record names another tokenizer. A copy in a model folder has no record."""
    for result in results if not (tokenizer / "policy.json").exists() else ():
        check_made_from(result, "tokenizer", identity(tokenizer), f"the tokenizer in '{tokenizer}'")


def file_digests(output: Path) -> dict[str, str]:
    """SHA-256 of a file (under its name), or of all files in a folder (under their paths in it) but hidden ones."""
    if output.is_file():
        return {output.name: sha256(output)}
    files = sorted(f for f in output.rglob("*") if f.is_file() and not f.name.startswith("."))  # Snakemake adds one
    return {file.relative_to(output).as_posix(): sha256(file) for file in files}


def describe() -> dict:
    """The facts that are the same for every kind of result; scripts add their own."""
    return {
        "command": shlex.join(sys.argv),
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "uncommitted_changes": bool(
            _git("status", "--porcelain", "--", ":/src", ":/workflow", ":/Snakefile", ":/config.yaml")
        ),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()} {_processor()}",
        "kernels": kernels.in_force(),
        "wall_seconds": round(time.time() - STARTED, 1),
    }


def _git(*arguments: str) -> str:
    """The output of git about the project's repository; empty if the project's folder is not the top of one.

    A copy inside another repository, or a job that git started (``GIT_DIR``), must not take another's for its own.
    """
    root = SOURCE.parent
    environment = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()

    try:
        return git(*arguments) if os.path.samefile(git("rev-parse", "--show-toplevel"), root) else ""
    except (OSError, subprocess.CalledProcessError):
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
