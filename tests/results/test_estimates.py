"""Estimates and the files that keep them: every kept value survives reading and writing."""

import ast
import sys
from dataclasses import replace

import pytest
from support.workflow import ROOT

from sequencematch.errors import UserError
from sequencematch.results.estimates import Cell, Estimate, Reported, Table, estimates_csv, read_table
from sequencematch.results.figures import forest_panels
from sequencematch.results.readme import blocks, kept_results
from sequencematch.settings.map import Side

KEPT = ROOT / "results/reference"
FILES = [file for file in sorted(KEPT.rglob("*.csv")) if file.parent.name != "starts"]  # those are of training


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_kept_file_is_read_and_written_as_it_is(file):
    assert estimates_csv(read_table(file)) == file.read_text()


def test_every_field_of_an_estimate_is_kept(tmp_path):
    """What it is of and to, its numbers, its place on the map with the costs there, and the paper's number."""
    where, against = Side("mul", "sm_js", 0.02, "greedy+bkspc_bias=-2"), Side("sums", "mle", 0.0, "sampled")
    paper = Reported("table 6", "mul", "sm_js", 0.02, "accuracy", 0.5, 0.04, "a note, with a comma")
    cell = Cell("an axis", "0.2", "greedy", "greedy", "sm_minus_mle", {"pushes_per_sequence": 5.25})
    numbers = {"error": 0.125, "p": 0.03, "p_adjusted": 0.06, "ratio": 1.5}
    whole = Estimate(-1.5, 0.25, -2.0, 0.0, where, "accuracy", against, **numbers, n=400, paper=paper, cell=cell)
    table = Table("t", [whole, Estimate(1 / 3, where=where, quantity="bleu", n=400)], "default", "mul", 3, 400)
    (tmp_path / "t.csv").write_text(estimates_csv(table))
    found = read_table(tmp_path / "t.csv")
    assert found.cells[0] == whole and found.cells[1].mean == pytest.approx(1 / 3, abs=1e-9)
    assert replace(found, cells=table.cells) == table


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


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "table,mean\nt,x\n"])
def test_another_file_is_refused_in_a_sentence(text, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match="holds no table of this project"):
        read_table(tmp_path / "x.csv")
