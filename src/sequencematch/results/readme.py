"""What the README and docs/ show of the kept results: an answer, the tables in a few columns, and the costs."""

from collections.abc import Sequence
from pathlib import Path

from sequencematch.results.costs import BENCHMARKS, LABELS, OF_PAPER, VERDICTS, of_paper, ordered
from sequencematch.results.estimates import REFERENCE, Estimate, Table, read_costs, read_table
from sequencematch.results.forest import COLUMNS, Results, decoding_of, drawn, is_of_validation
from sequencematch.results.quantities import key
from sequencematch.results.variants import Variant
from sequencematch.results.words import (
    Grid,
    by_decoding,
    enumerated,
    paper_label,
    printed,
    sides,
    signed_bold,
    with_spread,
)
from sequencematch.settings.decoding_names import without_rule
from sequencematch.store.files import read_json

PAIRS = (("sm", "mle"), ("bc", "mle"), ("sm", "bc"))


def answers(results: Results) -> list[str]:
    """What the 95% intervals support, a sentence or two for each pair of methods, over all tasks and noise levels.

    Without a takeback rule: with one, every method deletes.
    """
    found = []
    for method, other in PAIRS:
        pairs = [
            (cell, row)
            for row, table in results.tables.items()
            for cell in table.differences()
            if cell.variant.method == method and cell.name == f"{table.metric}_minus_{other}"
            if without_rule(cell.decoding) == cell.decoding
        ]
        if pairs:
            found.append(_answer(Variant(method, 0).label, Variant(other, 0).label, pairs))
    return found


def _answer(first: str, second: str, pairs: Sequence[tuple[Estimate, str]]) -> str:
    """The answer in words, such as: SM is significantly worse than MLE with sampling on mul."""
    rows = {id(cell): row for cell, row in pairs}
    better, worse = sides(cell for cell, _ in pairs)

    def where(cells: Sequence[Estimate]) -> str:
        found = by_decoding(cells).items()
        tasks = {phrase: list(dict.fromkeys(rows[id(cell)] for cell in some)) for phrase, some in found}
        return enumerated([f"{phrase} on {enumerated(names)}" for phrase, names in tasks.items()])

    if not better and not worse:
        return (
            f"**{first} and {second} do not differ significantly** ({len(pairs)} comparison{'s' * (len(pairs) > 1)})."
        )
    start = f"**{first} is significantly better than {second}** {where(better)}."
    if not better:
        start = f"**{first} is never significantly better than {second}.**"
    return f"{start} It is {f'significantly worse {where(worse)}' if worse else 'never significantly worse'}."


def differences(results: Results) -> Grid:
    """Task by decoding: the differences to MLE in points, at each method's highest noise level.

    In bold where the 95% interval excludes 0; a pretrained model's tables last.
    """
    rows = []
    for row, table in results.rows.items():
        decodings = [decoding_of(table, column) for column in COLUMNS]
        for variant in drawn(table):
            found = [table.find(variant, name, f"{table.metric}_minus_mle") if name else None for name in decodings]
            rows.append([row, variant.name, *(signed_bold(cell.in_points if cell else None) for cell in found)])
    return Grid(["task", "method", *COLUMNS], rows)


# ---- tables -----------------------------------------------------------------------------------------

# The columns of the short form, each shown in the tables that have it: heading, decoding, quantity. Where repair was
# measured after several kinds of wrong tokens, the first is shown.
TABLE_COLUMNS = [
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
    content = read_json(reference / "provenance.json")
    if not content["config"]["tables"] or is_of_validation(reference):
        return ""
    where = f"commit {', '.join(content['commits'])}; {content['machine']}; Python {content['python']}"
    parts = [f"Scale `{reference.name}`, {len(content['config']['seeds'])} seeds; {where}.\n"]
    for name, table in content["config"]["tables"].items():
        page = next((f for f in (reference / f"{name}.md", reference / f"{name}.csv") if f.is_file()), None)
        if page is None:  # a scale may be kept before all its tables are made
            continue
        parts.append(f"**{table['title']}** ([all of it]({page.relative_to(reference.parents[2])}))\n")
        parts += [str(short_grid(read_table(reference / f"{name}.csv"))), ""]
    return "\n".join(parts)


def short_grid(table: Table) -> Grid:
    """Mean ± standard deviation over seeds of the columns that the table has, and the paper's numbers."""
    columns = {}
    for heading, decoding, wanted in TABLE_COLUMNS:
        having = [
            c.quantity
            for c in table.cells
            if c.decoding == decoding and not c.against and c.quantity.partition("[")[0] == wanted
        ]
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


# ---- costs ------------------------------------------------------------------------------------------

OVERHEADS = "overheads"
COST_COLUMNS = {
    "step, times MLE": "step_ratio",
    "amortised, times MLE": "amortised_ratio",
    "token floor": "token_floor",
}


def costs_in_short(kept: Path, first: str) -> str:
    """The cost tables of all scales kept in a folder: ratios to MLE, their token floors, and the paper's."""
    parts = []
    for scale in kept_scales(kept, f"{OVERHEADS}/provenance.json", first):
        content = read_json(scale / OVERHEADS / "provenance.json")
        for name, table in content["config"]["overheads"].items():
            file = scale / OVERHEADS / f"{name}.csv"
            if file.is_file():
                facts = content["measured"][f"{name}/steps"]
                where = f"commit {facts['commit']}; {facts['machine']}, {facts['device']}"
                parts += [f"**{table['title']}** ([all of it]({_page(file, kept)}); {where})\n"]
                parts += [str(short_costs(read_costs(file))), ""]
                benchmarks = [_in_a_line(file, kept) for file in sorted(file.parent.glob(f"{name}_*.csv"))]
                parts += [*benchmarks, *[""] * bool(benchmarks)]
    return "\n".join(parts)


def _page(file: Path, kept: Path) -> Path:
    """Where the page of a kept CSV is, seen from the root of the repository."""
    return file.with_suffix(".md").relative_to(kept.parents[1])


def _in_a_line(file: Path, kept: Path) -> str:
    """A bullet: the title of a benchmark as a link to its page, and its verdicts."""
    name = file.stem.rpartition("_")[2]
    verdicts = VERDICTS[name](read_costs(file)) if name in VERDICTS else []
    return f"- [{BENCHMARKS[name].title}]({_page(file, kept)})" + ": " * bool(verdicts) + " ".join(verdicts)


def short_costs(costs: Sequence[Estimate]) -> Grid:
    """From the naive way to ours in each case."""
    found = {(c.where.task, c.where.method, c.quantity): c for c in costs}
    lines = []
    for case in dict.fromkeys(c.where.task for c in costs):
        for row in ordered(list(dict.fromkeys(c.where.method for c in costs if c.where.task == case))):
            of_row = {name: found[case, row, name] for name in COST_COLUMNS.values()}
            numbers = [f"{cost.mean:.2f}" for cost in of_row.values()]
            lines.append([case, LABELS[row], *numbers, *(of_paper(of_row[name]) for name in OF_PAPER)])
    return Grid(["lengths", "row", *COST_COLUMNS, "paper, step", "paper, amortised"], lines)
