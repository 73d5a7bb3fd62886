"""The smoke scale, run as ``make`` runs it."""

from pathlib import Path
from subprocess import CompletedProcess

from support.workflow import launch


def run_smoke(tree: Path, target: str, *options: str, **how) -> CompletedProcess:
    """Run the workflow at its smoke scale in ``tree``."""
    return launch(tree, target, *options, **how)
