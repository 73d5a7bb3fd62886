"""Runs as their metrics.json has them, and make_table on them."""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.workflow import ROOT

BUDGET = {"base_steps": 10, "steps": 20, "batch": 32, "model_digest": "m", "data_digest": "d", "questions_digest": "q"}


def a_run(method: str, eta: float, seed: int, decodings: dict, **changes) -> dict:
    """The metrics of a run on mul, without repair rates."""
    of_run = {"scale": "smoke", "task": "mul", "family": "arithmetic", "method": method, "eta": eta, "seed": seed}
    rest = {"decodings": decodings, "repair": None, "budget": BUDGET, "commit": "abc", "settings": {}}
    return of_run | rest | changes


def make_table(folder: Path, runs: Sequence, *options, shown: Sequence | None = None):
    """Write metrics files and compare them; the finished process, and the folder of the table's files.

    shown: of text, the lines of shown.jsonl of every run with ``<bkspc>``.
    """
    files = [folder / f"{i}/metrics.json" for i in range(len(runs))]
    for file, content in zip(files, runs, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
        lines = (shown or ()) if isinstance(content, dict) and content.get("repair") else ()
        text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
        file.with_name("shown.jsonl").write_text(text)
    outputs = (f"--{kind}={folder / 'out' / kind}" for kind in ("csv", "markdown", "html", "figure"))
    script = ROOT / "src/make_table.py"
    command = [sys.executable, script, "--table", "table6", *outputs, "--metrics", *files, *options]
    return subprocess.run(command, capture_output=True, text=True), folder / "out"


def made(folder: Path, runs: Sequence, *options, shown: Sequence | None = None) -> tuple[dict, dict[str, str]]:
    """The table of runs: rows of its CSV by (method, decoding, quantity), and its pages."""
    done, out = make_table(folder, runs, *options, shown=shown)
    assert done.returncode == 0, done.stderr
    assert (out / "figure").read_bytes().startswith(b"\x89PNG")
    with (out / "csv").open(newline="") as file:
        cells = {(row["method"], row["decoding"], row["quantity"]): row for row in csv.DictReader(file)}
    return cells, {kind: (out / kind).read_text() for kind in ("markdown", "html")}


def assert_refused(done: subprocess.CompletedProcess, out: Path, said: str) -> None:
    """One sentence, and nothing is written."""
    assert done.returncode == 1 and not out.exists()
    assert done.stderr.startswith("error: ") and said in done.stderr and done.stderr.count("\n") == 1
