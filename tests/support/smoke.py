"""The smoke scale, run as ``make`` runs it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKFLOW = (
    "Snakefile",
    "profiles",
    "workflow",
    "trials",
    "envs",
    "config.yaml",
    "src",
    "examples",
    "docs",
    "tests",
    "README.md",
)


def run_smoke(tree: Path, *words: str) -> subprocess.CompletedProcess:
    """Run the workflow at its smoke scale in ``tree``, as ``make`` does."""
    command = [sys.executable, "workflow/launcher/run.py", *words, "--config", "scale=smoke"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True)
