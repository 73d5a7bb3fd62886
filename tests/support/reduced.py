"""A plan of few jobs that goes through every stage of training and ends in a table, run as `make` runs it."""

import re
import subprocess
from pathlib import Path

from support.workflow import PARTS, ROOT, launch

TABLE = "table6"
# Steps are many enough to be interrupted, with a checkpoint after every third.
SETTINGS = [
    "scale=smoke",
    "seeds=[1]",
    "tables={table6: {methods: [bc, sm]}}",
    "schedule={steps: 24, decay_start: 8}",
]
RESULTS = Path("results/smoke")
RUNS = RESULTS / "mul"  # <method>/eta=0.2/seed=1
COMMIT = rb"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])( with uncommitted changes)?"
COMMITS = re.compile(rb"%b(, %b)*" % (COMMIT, COMMIT))
# What runs of the same configuration and code have in common to the last bit.
SAME = ("*.safetensors", "metrics.csv", "samples.jsonl", "repair.json", "metrics.json", "tables/*.csv", "tables/*.md")


def make_tree(folder: Path) -> Path:
    """The project in ``folder``, by links, without results."""
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    return folder


def run(tree: Path, *options: str, target: str = TABLE, settings=SETTINGS, **how) -> subprocess.CompletedProcess:
    """Run the plan in ``tree`` to its end."""
    return launch(tree, target, *options, config=settings, **how)


def content(tree: Path) -> dict[str, bytes]:
    """The results' files that must not depend on how often a run was interrupted, or on where it ran.

    Without the commit, which some of them name: it may change under a test.
    """
    files = [file for pattern in SAME for file in (tree / RESULTS).rglob(pattern) if ".resume" not in file.parts]
    return {str(file.relative_to(tree)): COMMITS.sub(b"<commit>", file.read_bytes()) for file in files}
