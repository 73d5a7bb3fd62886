"""The recipe of docs/extend.md for a loss, followed in a copy of the project."""

import ast
import csv
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.workflow import PARTS, ROOT

PLACE = re.compile(r"# (in|above) (\w+) of (\S+)\n")


def recipe() -> list[str]:
    """The blocks of code of the section on losses. Each begins with a comment that says where it belongs."""
    section = (ROOT / "docs/extend.md").read_text().partition("\n## A loss\n")[2].partition("\n## ")[0]
    return [token.content for token in MarkdownIt("commonmark").parse(section) if token.type == "fence"]


def follow(block: str, tree: Path) -> None:
    """Write a block of code where its first line says."""
    where, name, file = PLACE.match(block).groups()
    added = block.partition("\n")[2].splitlines()
    lines = (tree / file).read_text().splitlines()
    if file.endswith(".yaml"):
        place, indent = lines.index(f"{name}:") + 1, "  "
    else:
        node = next(node for node in ast.parse("\n".join(lines)).body if name in names_of(node))
        inside = node.body[-1].lineno - 1 if isinstance(node, ast.ClassDef) else node.end_lineno - 1
        if isinstance(node, ast.ClassDef):  # after its last field
            inside = max(field.end_lineno for field in node.body if isinstance(field, ast.AnnAssign))
        place, indent = (inside, "    ") if where == "in" else (first_line(node, lines), "")
    lines[place:place] = textwrap.indent("\n".join(added), indent).splitlines()
    (tree / file).write_text("\n".join(lines) + "\n")


def names_of(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(node, ast.ClassDef):
        return [node.name]
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    return [target.id for target in targets if isinstance(target, ast.Name)]


def first_line(node: ast.stmt, lines: list[str]) -> int:
    """Where a statement begins, with the comments above it."""
    place = node.lineno - 1
    while lines[place - 1].startswith("#"):
        place -= 1
    return place


@pytest.mark.slow
def test_the_recipe_for_a_loss_gives_a_method_that_trains(tmp_path):
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    blocks = recipe()
    assert len(blocks) == 6
    for block in blocks:
        follow(block, tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    model = "results/smoke/mul/focal/eta=0/seed=1/model"

    def make(focus: float) -> list[dict[str, str]]:
        settings = ["scale=smoke", f"objective={{focus: {focus}}}"]
        command = [sys.executable, "workflow/launcher/run.py", model, "--cores", "2", "--config", *settings]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("rule finetune:" in done.stderr) and (("rule pretrain_base:" in done.stderr) == (focus == 2.0))
        with (tmp_path / model / "metrics.csv").open(newline="") as file:
            return [row for row in csv.DictReader(file) if row["loss"]]

    # The new setting reruns the training that reads it, and no other. With focus = 0 the loss is maximum likelihood.
    focal, mle = make(2.0), make(0.0)
    assert all(row["focal_loss"] == row["loss"] for row in focal)
    assert 0 < float(focal[0]["loss"]) < float(mle[0]["loss"])
