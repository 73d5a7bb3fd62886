"""Where a result came from: commit, code, options, packages, machine, time; and the digests that vouch for it.

Beside every result ``<name>`` of a script lies ``<name>.provenance.json`` (``record``), read by ``workflow/verify.py``.
"""

import argparse
import hashlib
import json
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.store.code_digest import code_digest
from sequencematch.store.files import write_json

RECORD = ".provenance.json"
PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "mathematics-dataset", "sympy")
STARTED = time.time()


def record(args: argparse.Namespace, *outputs: Path) -> None:
    """Write beside each output (a file or folder of the running script, complete) where it came from.

    Besides ``describe()``: the script and the digest of its code, its options and their digest, and the SHA-256 of
    each file.
    """
    script = Path(sys.argv[0])
    options = {name: str(value) for name, value in sorted(vars(args).items())}
    facts = {
        "script": script.name,
        "code": code_digest(script),
        "options": options,
        "options_digest": hashlib.sha256(json.dumps(options).encode()).hexdigest(),
        **describe(),
    }
    for output in outputs:
        write_json(record_of(output), facts | {"sha256": file_digests(output)})


def record_of(output: Path) -> Path:
    """Where the record of an output lies."""
    return output.with_name(output.name + RECORD)


def read_record(output: Path) -> dict:
    """The record beside an output. Raises UserError where there is none, or none that can be read."""
    try:
        content = json.loads(record_of(output).read_text(encoding="utf-8"))
        dict(content["sha256"]), str(content["commit"]), bool(content["uncommitted_changes"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"'{output}' has no sound {record_of(output).name} beside it") from error
    return content


def file_digests(output: Path) -> dict[str, str]:
    """SHA-256 of a file (under its name), or of all files in a folder (under their paths in it) but hidden ones."""
    if output.is_file():
        return {output.name: _sha256(output)}
    files = sorted(f for f in output.rglob("*") if f.is_file() and not f.name.startswith("."))  # Snakemake adds one
    return {file.relative_to(output).as_posix(): _sha256(file) for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
        "wall_seconds": round(time.time() - STARTED, 1),
    }


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
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
