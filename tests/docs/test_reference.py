"""The published tables: the README repeats what is kept, and what is kept can be traced."""

import json
import re
import sys
from collections import Counter
from dataclasses import replace

import pytest
from support.workflow import ROOT

from sequencematch.config.experiment import DEFAULT_SCALE
from sequencematch.config.load import load_config
from sequencematch.errors import UserError
from sequencematch.results.estimates import Cell, Estimate
from sequencematch.results.readme import blocks, quote_map, with_numbers
from sequencematch.settings.map import Side
from sequencematch.store.files import read_csv

sys.path.insert(0, str(ROOT / "workflow"))

from keep_reference import check_current, documents_with, markers, seen_from

KEPT = ROOT / "results/reference"


def test_the_documents_show_the_kept_tables(monkeypatch):
    """The README, or the page of docs/ that has the markers."""
    monkeypatch.chdir(ROOT)
    for name, text in blocks(KEPT, DEFAULT_SCALE).items():
        begin, end = markers(name)
        pages = documents_with(begin)
        assert pages
        for page in pages:
            assert page.read_text().partition(begin)[2].partition(end)[0] == "\n" + seen_from(page, text)


WITH_TABLES = [folder for folder in KEPT.iterdir() if (folder / "provenance.json").is_file()]


@pytest.mark.parametrize("reference", WITH_TABLES, ids=lambda folder: folder.name)
def test_kept_tables_name_their_commit_and_every_run_its_budget(reference):
    content = json.loads((reference / "provenance.json").read_text())
    assert content["commits"] and all(re.fullmatch(r"[0-9a-f]{12}", commit) for commit in content["commits"])
    for name, table in content["config"]["tables"].items():
        page = reference / f"{name}.md"
        if page.exists():  # it is absent where it would show texts of others
            named = re.search(r"Code: commit ([0-9a-f, ]+)\.", page.read_text())[1].split(", ")
            assert named and set(named) <= set(content["commits"])
        if not (reference / f"{name}.csv").exists():
            continue  # not made yet
        for method in table["methods"]:
            runs = [run for run in content["budgets"] if run.startswith(f"{table['task']}/{method}/")]
            assert {run.rpartition("=")[2] for run in runs} == set(map(str, content["config"]["seeds"]))
            assert len({json.dumps(content["budgets"][run]) for run in runs}) == 1


def test_a_run_of_another_configuration_is_not_kept():
    config = load_config(ROOT / "config.yaml")
    optimiser, schedule = (config.settings("mul", "mle")[section] for section in ("optimiser", "schedule"))
    budget = {"batch": optimiser.batch, "steps": schedule.base_steps + schedule.steps}
    run = {"task": "mul", "method": "mle", "budget": budget}
    check_current({"mul/mle": run}, config)
    with pytest.raises(UserError, match="'mul/mle' was made with .*'batch': 1.* run it again"):
        check_current({"mul/mle": run | {"budget": budget | {"batch": 1}}}, config)


def test_the_starts_of_the_row_of_bkspc_are_those_that_were_measured():
    found = {}
    for start in ("noise", "mean", "fitted"):
        rows = {row["step"]: row["validation_loss"] for row in read_csv(KEPT / f"pretrained/starts/{start}.csv")}
        found[start] = [f"{float(rows[step]):.2f}" for step in ("20", "60")]
        assert not json.loads((KEPT / f"pretrained/starts/{start}.json").read_text())["uncommitted_changes"]
    (noise, later), (mean, mean_later), fitted = found["noise"], found["mean"], " and ".join(found["fitted"])
    text = " ".join((ROOT / "docs/method.md").read_text().split())
    assert f"is {noise} after 20 steps and {later} after 60, and from the mean {mean} and {mean_later}." in text
    assert f"changed nothing ({fitted})" in text


def test_the_page_of_the_map_says_what_the_kept_map_says():
    """Every number of its prose stands on the map, where docs/map_numbers.csv says."""
    page, numbers = ROOT / "docs/map.md", ROOT / "docs/map_numbers.csv"
    for file, text in quote_map(page, numbers, KEPT / "map").items():
        assert file.read_text() == text
    signed = Counter(re.findall(r"(?<![\w.])[+-]\d+\.\d", page.read_text()))
    placed = Counter(row["number"].strip("*") for row in read_csv(numbers))
    assert signed.total() > 10 and not signed - placed, "a difference without its place"


def test_numbers_of_the_map_follow_it():
    where, other = Side("mul", "sm", 0.2, "sampled"), Side("mul", "mle", 0.0, "sampled")
    found = {
        "sm": Estimate(70.06, where=where, quantity="points"),
        "sm_minus_mle": Estimate(3.94, where=where, quantity="points", against=other, p_adjusted=0.01),
        "sm_minus_bc": Estimate(0.2, where=where, quantity="points", against=other, p_adjusted=0.5),
    }
    effects = [replace(one, cell=Cell("eta", "0.2", "sampled", "sampled", roles)) for roles, one in found.items()]
    place = {"axis": "eta", "at": "0.2", "reading": "sampled"}
    rows = [place | {"number": n, "roles": q} for n, q in zip(("1", "-5.5", "**0.2**"), found, strict=True)]
    text, written = with_numbers("SM has 1.5, or 1, -5.5 so, **0.2**. 1", rows, effects)
    assert text == "SM has 1.5, or 70.1, **+3.9** so, +0.2. 1"
    assert [row["number"] for row in written] == ["70.1", "**+3.9**", "+0.2"]
    with pytest.raises(UserError, match="docs/map.md has no '1' .eta/0.2/sampled/sm. where docs/map_numbers.csv has"):
        with_numbers("SM has 1.5.", rows, effects)
    with pytest.raises(UserError, match="names a place that is not on the map: eta/0.3/sampled/sm"):
        with_numbers("1", [rows[0] | {"at": "0.3"}], effects)
