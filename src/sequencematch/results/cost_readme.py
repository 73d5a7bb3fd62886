"""What steps and sampling cost, in a few columns, as the README shows it."""

import json
from pathlib import Path

from sequencematch.results.cost_cells import LABELS
from sequencematch.results.document import Grid
from sequencematch.results.readme import kept_scales
from sequencematch.results.steps_table import ordered
from sequencematch.store.files import read_csv

OVERHEADS = "overheads"
# Heading and quantity of each column.
COLUMNS = [
    ("step, times MLE", "step_ratio"),
    ("amortised, times MLE", "amortised_ratio"),
    ("token floor", "token_floor"),
]


def costs_in_short(kept: Path, first: str) -> str:
    """The cost tables of all scales kept in a folder: ratios to MLE, their token floors, and the paper's."""
    parts = []
    for scale in kept_scales(kept, f"{OVERHEADS}/provenance.json", first):
        content = json.loads((scale / OVERHEADS / "provenance.json").read_text())
        for name, table in content["config"]["overheads"].items():
            file = scale / OVERHEADS / f"{name}.csv"
            if file.is_file():
                facts = content["measured"][f"{name}/steps"]
                link = file.with_suffix(".md").relative_to(kept.parents[1])
                where = f"commit {facts['commit']}; {facts['machine']}, {facts['device']}"
                parts += [f"**{table['title']}** ([all of it]({link}); {where})\n", short_costs(file).markdown(), ""]
                pages = sorted(file.parent.glob(f"{name}_*.md"))
                parts += [*(_benchmark(page, kept.parents[1]) for page in pages), *[""] * bool(pages)]
    return "\n".join(parts)


def _benchmark(page: Path, root: Path) -> str:
    """A bullet: the page's title as a link, and its verdicts on the budgets."""
    text = page.read_text()
    title = text.splitlines()[0].removeprefix("# ")
    verdicts = [line.removeprefix("- ") for line in text.partition("## Budgets")[2].splitlines() if line]
    return f"- [{title}]({page.relative_to(root)})" + ": " * bool(verdicts) + " ".join(verdicts)


def short_costs(file: Path) -> Grid:
    """The table of a kept CSV, from the naive way to ours in each case."""
    cells = read_csv(file)
    found = {(c["case"], c["row"], c["quantity"]): c for c in cells}
    lines = []
    for case in dict.fromkeys(c["case"] for c in cells):
        for row in ordered(list(dict.fromkeys(c["row"] for c in cells if c["case"] == case))):
            numbers = [f"{float(found[case, row, quantity]['median']):.2f}" for _, quantity in COLUMNS]
            papers = [found[case, row, quantity]["paper_value"] for quantity in ("step_ratio", "amortised_ratio")]
            lines.append([case, LABELS[row], *numbers, *(f"{float(p):.2f}" if p else "-" for p in papers)])
    return Grid(["lengths", "row", *(heading for heading, _ in COLUMNS), "paper, step", "paper, amortised"], lines)
