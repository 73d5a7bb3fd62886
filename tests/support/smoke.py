"""The smoke scale, run as ``make`` runs it."""

from pathlib import Path
from subprocess import CompletedProcess

from support import reduced


def run_smoke(tree: Path, target: str, *options: str) -> CompletedProcess:
    """Run the workflow at its smoke scale in ``tree``."""
    return reduced.run(tree, *options, target=target, settings=["scale=smoke"])
