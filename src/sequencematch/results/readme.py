"""The kept tables of all scales in a few columns each, as the README shows them."""

import json
from collections.abc import Sequence
from pathlib import Path

from sequencematch.results.cells import REFERENCE, Table, read_table
from sequencematch.results.document import Grid
from sequencematch.results.forest import is_of_validation
from sequencematch.results.quantities import key
from sequencematch.results.words import paper_label, printed, with_spread

# The columns of the short form, each shown in the tables that have it: heading, decoding, quantity. Where repair was
# measured after several kinds of wrong tokens, the first is shown.
COLUMNS = [
    *(
        (label, decoding, metric)
        for metric in ("accuracy", "bleu")
        for label, decoding in (
            ("sampled", "sampled"),
            ("sampled, with the rule", "takeback_ratio=0.3"),
            ("greedy", "greedy"),
            ("perturbed at 0.1", "perturbed=0.1"),
        )
    ),
    ("perplexity", "sampled", "perplexity"),
    ("MAUVE", "sampled", "mauve"),
    ("MAUVE, top-p 0.95", "top_p=0.95", "mauve"),
    ("held-out NLL", "", "held_out_nll"),
    ("repair", "", "repair_rate"),
    ("false alarm", "", "false_alarm_rate"),
]


def in_short(kept: Path, first: str) -> str:
    """The tables of all scales kept in a folder, the scale ``first`` before the others."""
    return "\n".join(filter(None, map(scale_in_short, kept_scales(kept, "provenance.json", first))))


def kept_scales(kept: Path, file: str, first: str) -> list[Path]:
    """The folders of scales that have a file, the scale ``first`` before the others."""
    having = [folder for folder in kept.iterdir() if (folder / file).is_file()]
    return sorted(having, key=lambda folder: (folder.name != first, folder.name))


def scale_in_short(reference: Path) -> str:
    """A scale's tables in a few columns each. Empty if it has none, or only trials on validation questions."""
    content = json.loads((reference / "provenance.json").read_text())
    if not content["config"]["tables"] or is_of_validation(reference):
        return ""
    where = f"commit {', '.join(content['commits'])}; {content['machine']}; Python {content['python']}"
    parts = [f"Scale `{reference.name}`, {len(content['config']['seeds'])} seeds; {where}.\n"]
    for name, table in content["config"]["tables"].items():
        page = next((f for f in (reference / f"{name}.md", reference / f"{name}.csv") if f.is_file()), None)
        if page is None:  # a scale may be kept before all its tables are made
            continue
        parts.append(f"**{table['title']}** ([all of it]({page.relative_to(reference.parents[2])}))\n")
        parts += [short_grid(read_table(reference / f"{name}.csv")).markdown(), ""]
    return "\n".join(parts)


def short_grid(table: Table) -> Grid:
    """Mean ± standard deviation over seeds of the columns that the table has, and the paper's numbers."""
    columns = {}
    for heading, decoding, wanted in COLUMNS:
        having = [c.quantity for c in table.cells if c.decoding == decoding and c.quantity.partition("[")[0] == wanted]
        if having:
            columns[heading + (f" ({key(having[0])})" if key(having[0]) else "")] = (decoding, having[0])
    papers = {cell.variant: cell.paper for cell in table.cells if cell.paper}
    real = [REFERENCE] if any(cell.variant == REFERENCE for cell in table.cells) else []
    rows: list[Sequence[str]] = []
    for variant in (*table.variants, *real):
        # The measures of real text belong to no decoding.
        row = [table.find(variant, *place) or table.find(variant, "", place[1]) for place in columns.values()]
        name = "real text" if variant == REFERENCE else variant.name
        rows.append([name, *map(with_spread, row), *([printed(papers.get(variant))] if papers else [])])
    return Grid(["method", *columns, *([paper_label(table.cells)] if papers else [])], rows)
