"""The published tables: the README repeats what is kept, and what is kept can be traced."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from keep_reference import BEGIN, COSTS_BEGIN, COSTS_END, END, costs_in_short, in_short  # noqa: E402

KEPT = ROOT / "results/reference"


def test_the_readme_shows_the_kept_tables(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text()
    assert text.partition(BEGIN)[2].partition(END)[0] == "\n" + in_short(KEPT)
    assert text.partition(COSTS_BEGIN)[2].partition(COSTS_END)[0] == "\n" + costs_in_short(KEPT)


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
        for method in table["methods"]:
            runs = [run for run in content["budgets"] if run.startswith(f"{table['task']}/{method}/")]
            assert {run.rpartition("=")[2] for run in runs} == set(map(str, content["config"]["seeds"]))
            assert len({json.dumps(content["budgets"][run]) for run in runs}) == 1
