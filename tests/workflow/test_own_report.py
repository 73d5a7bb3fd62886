"""Snakemake's own report: what it says first, and that tables, the map and the costs are in it by their titles."""

import pytest
from support.workflow import copy_tree, snakemake

from sequencematch.store.provenance import describe

SIX = "Table six is <b> bold"
TITLES = ("Table six ", "Table eight, by its title", "Costs, by their title", "divergence")
CONFIG = (
    "scale=smoke",
    "seeds=[1]",
    f"tables={{table6: {{methods: [mle], title: '{SIX}'}}, table8: {{methods: [mle], title: '{TITLES[1]}'}}}}",
    f"overheads={{table4: {{title: '{TITLES[2]}'}}}}",
)


@pytest.mark.slow
def test_files_are_listed_by_title_below_a_description(tmp_path):
    tree, words = copy_tree(tmp_path), ("table6", "table8", "map", "table4")
    snakemake(tree, *words, config=CONFIG)
    report = ("--report", "own.html", "--report-metadata", "workflow/captions/metadata.yaml")
    snakemake(tree, *words, *report, config=CONFIG)
    page = (tree / "own.html").read_text()
    assert "An independent reproduction of" in page
    assert "arXiv:2306.05426" in page and describe()["machine"] in page
    for title in TITLES:
        assert title in page
    for name in ("table8.html", "table4.png", "divergence.png"):
        assert name in page, f"{name} is not in the report"
