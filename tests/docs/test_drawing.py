"""The drawing of the pipeline in the README agrees with the workflow's own rule graph."""

import re
from itertools import pairwise

from support.workflow import ROOT, copy_tree, snakemake


def test_the_arrows_of_the_readme_are_those_of_the_workflow(tmp_path):
    graph = snakemake(copy_tree(tmp_path), "table6", "table8", "--rulegraph").stdout
    names = dict(re.findall(r'(\d+)\[label = "(\w+)', graph))
    needed = {name: set() for name in names.values()}
    for before, after in re.findall(r"(\d+) -> (\d+)", graph):
        needed[names[after]].add(names[before])
    drawing = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    lines = [line.split(" --> ") for line in map(str.strip, drawing.splitlines()) if "-->" in line]
    arrows = [pair for line in lines for pair in pairwise(line)]
    assert arrows and all(before in needed[rule] for before, rule in arrows)
    assert {rule for arrow in arrows for rule in arrow} == needed.keys() - {"table6", "table8"}
