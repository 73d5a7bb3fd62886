"""Where a result came from: commit, packages, machine, time."""

import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "mathematics-dataset", "sympy")
STARTED = time.time()


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
