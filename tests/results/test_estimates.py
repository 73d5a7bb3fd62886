"""Estimates and the files that keep them: every kept value survives reading and writing."""

import ast
import csv
import io
import json
import sys

import pytest
from support.workflow import ROOT

from sequencematch.errors import UserError
from sequencematch.results.estimates import costs_csv, map_csv, read_costs, read_map, read_table, scores_csv
from sequencematch.results.forest import forest_panels, kept_results
from sequencematch.results.readme import blocks

KEPT = ROOT / "results/reference"
FILES = [file for file in sorted(KEPT.rglob("*.csv")) if file.parent.name != "starts"]  # those are of training


def again(file) -> str:
    """The content of a kept file, read and written."""
    if file.parent.name == "overheads":
        return costs_csv(read_costs(file), file.stem)
    if file.stem == "map":
        seeds = json.loads(file.with_name("provenance.json").read_text())["config"]["seeds"]
        return map_csv(read_map(file), len(seeds))
    return scores_csv(read_table(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_kept_value_is_read_and_written_as_it_was(file):
    written = csv.DictReader(io.StringIO(again(file)))
    for row, new in zip(csv.DictReader(file.open(newline="")), written, strict=True):
        # Costs have more columns than they had, and a whole number may have been written as one.
        assert {name: value(text) for name, text in row.items()} == {name: value(new[name]) for name in row}


def value(text: str) -> float | str:
    """A number where the text is one. A pair of the map, '0.2 | 0', is none."""
    try:
        return float(text)
    except ValueError:
        return text


def test_no_page_that_we_wrote_is_read():
    """What the README shows is made from CSV files. No module of results/ names a page, but to link to it."""
    opened, looking = [], True
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" and looking else None)
    assert all(blocks(KEPT, "default").values()) and forest_panels(kept_results(KEPT, "default"), [])
    looking = False
    assert any(file.endswith(".csv") for file in opened)
    assert not [file for file in opened if file.endswith((".md", ".html"))]
    naming = set()
    for file in (ROOT / "src/sequencematch/results").glob("*.py"):
        texts = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
        naming |= {file.name for text in texts if str(text).endswith((".md", ".html"))}
    assert naming <= {"readme.py"}


@pytest.mark.parametrize("read", [read_table, read_costs, read_map])
def test_another_file_is_refused_in_a_sentence(read, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is no table of this project"):
        read(tmp_path / "x.csv")
