"""The recipes of docs/extend.md for a loss and for a family of tasks, followed in one copy of the project."""

import ast
import csv
import json
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.workflow import PARTS, ROOT, launch

PLACE = re.compile(r"# (in|above|new) (\w+)(?: of)? (\S+)\n")


def recipe(title: str) -> list[str]:
    """The blocks of code of a section. Each begins with a comment that says where it belongs."""
    section = (ROOT / "docs/extend.md").read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [token.content for token in MarkdownIt("commonmark").parse(section) if token.type == "fence"]


def follow(block: str, tree: Path) -> str:
    """Write a block of code where its first line says, and return the name of that file."""
    where, name, file = PLACE.match(block).groups()
    _, _, code = block.partition("\n")
    if where == "new":
        (tree / file).write_text(code)
        return file
    added = code.splitlines()
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
    return file


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
def test_the_recipes_give_a_method_and_a_task_that_run(tmp_path):
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    loss = [follow(block, tmp_path) for block in recipe("A loss")]
    family = [follow(block, tmp_path) for block in recipe("A family of tasks")]
    assert len(loss) == 6 and len(set(family)) == 5
    run = Path("results/smoke/reversal/focal/eta=0/seed=1")

    def make(target: str, focus: float) -> list[dict[str, str]]:
        settings = ["scale=smoke", f"objective={{focus: {focus}}}"]
        done = launch(tmp_path, str(run / target), config=settings, PYTHONPATH=str(tmp_path / "src"))
        assert ("rule finetune:" in done.stderr) and (("rule pretrain_base:" in done.stderr) == (focus == 2.0))
        with (tmp_path / run / "model/metrics.csv").open(newline="") as file:
            return [row for row in csv.DictReader(file) if row["loss"]]

    # The new setting reruns the training that reads it, and no other. With focus = 0 the loss is maximum likelihood.
    focal, mle = make("metrics.json", 2.0), make("model", 0.0)
    assert all(row["focal_loss"] == row["loss"] for row in focal)
    assert 0 < float(focal[0]["loss"]) < float(mle[0]["loss"])
    scores = json.loads((tmp_path / run / "metrics.json").read_text())
    assert scores["family"] == "reversal" and len(scores["decodings"]["greedy"]["correct"]) == 200
