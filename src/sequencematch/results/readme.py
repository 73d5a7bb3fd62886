"""What the README and docs/ show of the kept results: an answer, the tables in a few columns, and the costs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sequencematch.results.costs import BENCHMARKS, LABELS, OF_PAPER, VERDICTS, of_paper, ordered
from sequencematch.results.estimates import METRICS, REFERENCE, Estimate, Table, read_costs, read_table
from sequencematch.results.forest import (
    BASELINE,
    COLUMNS,
    COMPARED,
    DRAWN,
    decoding_of,
    drawn,
    is_of_validation,
    kept_tables,
    of_rule,
    over_tasks,
    pooled_sentences,
    results_of,
    row_of,
    to_mle,
)
from sequencematch.results.quantities import key
from sequencematch.results.variants import Variant
from sequencematch.results.words import (
    Grid,
    decoding_label,
    decoding_phrase,
    enumerated,
    paper_label,
    plain,
    printed,
    sides,
    signed,
    signed_bold,
    span,
)
from sequencematch.settings.decoding_names import without_rule
from sequencematch.store.files import read_json

# The scales of dead ends, of few examples and many epochs, and of real translations.
GRAPHS, FEW, CAPTIONS = "graphs", "few", "multi30k"
SHOWN = ("translation", "mul", "graphs")  # the tasks of the README's table; docs/results.md has all


# ---- the answer -------------------------------------------------------------------------------------


def blocks(kept: Path, main: str) -> dict[str, str]:
    """What stands between the markers of the README and of docs/, by the name of the marker."""
    tables = kept_tables(kept, main)
    results = results_of(tables, main)
    ours = {row: table for row, table in results.items() if table.scale in (main, GRAPHS, FEW)}
    return {
        "answers": "".join(f"- {sentence}\n" for sentence in answers(ours)),
        "differences": f"{differences({row: ours[row] for row in SHOWN if row in ours}, COMPARED)}\n",
        "all differences": f"{differences(results, DRAWN)}\n",
        "dead ends": f"{dead_ends([table for table in results.values() if table.scale == GRAPHS])}\n",
        "lookahead": f"{looked_ahead([table for table in tables if table.scale in (main, GRAPHS, CAPTIONS)], main)}\n",
        "tables": in_short(kept, main),
        "overheads": costs_in_short(kept, main),
    }


@dataclass(frozen=True)
class Gain:
    """What a learned deletion adds to MLE on a task, at its best and at its worst, and what the takeback rule adds."""

    row: str
    decoding: str
    best: Estimate
    worst: Estimate
    rule: Estimate | None

    @property
    def beats_rule(self) -> bool:
        """Whether the whole interval of the best is above the rule."""
        return self.rule is not None and self.best.low is not None and self.best.low > self.rule.mean


def answers(results: Mapping[str, Table]) -> list[str]:
    """The answer in a few sentences: where a learned deletion gains what no rule does, where not, and SM vs. BC."""
    found = [gain for row, table in results.items() for gain in _gains(row, table)]
    better = [gain for gain in found if gain.best.significant and gain.best.mean > 0]
    ruled = [gain for gain in better if gain.rule]
    alone, shared = [g for g in ruled if g.beats_rule], [g for g in ruled if not g.beats_rule]
    worse = [gain for gain in found if gain.worst.significant and gain.worst.mean < 0]
    verdicts = (
        ("gains more than the takeback rule", _where(alone)),
        ("gains no more than the takeback rule, which needs no training,", _where(shared)),
        ("gains", _where([gain for gain in better if not gain.rule])),
    )
    said = [verdict for verdict in verdicts if verdict[1]]
    subjects = ["A learned deletion", *["It"] * len(said)]
    sentences = [f"**{subject} {verb}** {where}." for subject, (verb, where) in zip(subjects, said, strict=False)]
    if worse:  # one sentence with what it gains, so that the README says three things
        lost = f"**{subjects[len(said)]} loses** {_where(worse, losing=True)}."
        sentences = [*sentences[:-1], " ".join([*sentences[-1:], lost])]
    return [*sentences, *_sm_and_bc(results)]


def _gains(row: str, table: Table) -> Iterator[Gain]:
    for decoding in filter(None, (decoding_of(table, column) for column in COLUMNS)):
        learned = [to_mle(table, variant, decoding) for variant in drawn(table) if variant.method in COMPARED]
        measured = sorted((cell for cell in learned if cell), key=lambda cell: cell.mean)
        if measured:
            yield Gain(row, decoding, measured[-1], measured[0], of_rule(table, decoding))


def _where(gains: Sequence[Gain], losing: bool = False) -> str:
    """'when perturbed at 0.1 on mul (BC +14.9, takeback rule +22.0)'."""
    by_phrase: dict[str, list[str]] = {}
    for gain in gains:
        learned = gain.worst if losing else gain.best
        numbers = f"{learned.variant.label} {signed(learned)}"
        if gain.rule and not losing:
            numbers += f", takeback rule {signed(gain.rule)}"
        by_phrase.setdefault(decoding_phrase(gain.decoding), []).append(f"{gain.row} ({numbers})")
    return enumerated([f"{phrase} on {enumerated(rows)}" for phrase, rows in by_phrase.items()])


def _sm_and_bc(results: Mapping[str, Table]) -> list[str]:
    """In how many comparisons SM differs from BC significantly, without a rule (with one, all delete); and pooled."""
    pairs = [
        cell
        for table in results.values()
        for cell in table.differences()
        if cell.variant.method == "sm" and cell.name.endswith("_minus_bc")
        if without_rule(cell.decoding) == cell.decoding
    ]
    better, worse = sides(pairs)
    counts = f"better in {len(better)}, worse in {len(worse)}" if better or worse else "different in none"
    counts = f"significantly {counts} of {len(pairs)} comparisons."
    lines = [line for line in over_tasks(results.values()) if line.against and line.against.method == "bc"]
    said = " ".join(["**SequenceMatch vs. behavioural cloning:**", counts, *pooled_sentences(lines)])
    return [said] if pairs else []


def differences(results: Mapping[str, Table], methods: Collection[str]) -> Grid:
    """Task by decoding: MLE's score, and in points what each method and the takeback rule add; significant in bold."""
    labels = [Variant(method, 0).label for method in methods]
    rows = []
    for row, table in results.items():
        at = {variant.method: variant for variant in drawn(table)}
        for decoding in filter(None, (decoding_of(table, column) for column in COLUMNS)):
            score = table.find(BASELINE, decoding, table.metric)
            learned = [to_mle(table, at[method], decoding) if method in at else None for method in methods]
            cells = [signed_bold(cell) for cell in (*learned, of_rule(table, decoding))]
            rows.append([row, decoding_label(decoding), plain(score.in_points if score else None), *cells])
    return Grid(["task", "decoding", "MLE", *labels, "takeback rule"], rows)


# What an answer to a graph is worth and costs, decoded in these ways.
WAYS = ("sampled", "greedy", "greedy+memory", "memory", "takeback_ratio=0.3", "best_of=2")


def dead_ends(tables: Sequence[Table]) -> Grid:
    """Accuracy in points, and in brackets tokens written and deletions, by task and method; MLE of the first task."""
    rows: list[list[str]] = []
    for table in tables:
        for variant in table.variants:
            if variant == BASELINE and rows:
                continue
            cells = []
            for way in WAYS:
                score, *costs = (
                    table.find(variant, way, quantity)
                    for quantity in (table.metric, "pushes_per_sequence", "pops_per_sequence")
                )
                written = " + ".join(f"{cost.mean:.1f}" for cost in costs if cost and cost.mean)
                cells.append(plain(score.in_points) + f" ({written})" * bool(written) if score else "-")
            rows.append([table.task, variant.label, *cells])
    return Grid(["task", "method", *map(decoding_label, WAYS)], rows)


AHEAD = "greedy+lookahead=0.75"
# What is compared with the row above it: by a paired difference of this name.
HEAD = Variant("head", 0.0)
STEPS = (("greedy", BASELINE, ""), (AHEAD, BASELINE, "_minus_mle[greedy]"), (AHEAD, HEAD, "_minus_mle"))


def looked_ahead(tables: Sequence[Table], main: str) -> Grid:
    """Greedy decoding of MLE, with lookahead, and with its deletion head: points, gain over the row above, tokens.

    Of several tables of a task, the one with a head.
    """
    measured = [table for table in tables if table.find(BASELINE, AHEAD, table.metric)]
    chosen = {row_of(table, main): table for table in sorted(measured, key=lambda table: HEAD in table.variants)}
    rows = []
    for row, table in chosen.items():
        for decoding, variant, against in STEPS:
            score, gain, tokens = (
                table.find(variant, decoding, name)
                for name in (table.metric, f"{table.metric}{against}", "pushes_per_sequence")
            )
            if score and gain and tokens:
                shown = [signed_bold(gain.in_points), span(gain.in_points)] if against else ["", ""]
                way = f"{variant.label}, {decoding_label(decoding)}"
                rows.append([row, way, plain(score.in_points), *shown, f"{tokens.mean:.2f}"])
    return Grid(["task", "decoding", "points", "more than above", "95% interval", "tokens per answer"], rows)


# ---- tables -----------------------------------------------------------------------------------------

# The columns of the short form, each shown in the tables that have it: heading, decoding, quantity. Where repair was
# measured after several kinds of wrong tokens, the first is shown.
TABLE_COLUMNS = [
    *(
        (label, decoding, metric)
        for metric in ("accuracy", "bleu")
        for label, decoding in (
            ("sampled", "sampled"),
            ("greedy", "greedy"),
            ("looking ahead", AHEAD),
            ("perturbed at 0.1", "perturbed=0.1"),
        )
    ),
    ("perplexity", "sampled", "perplexity"),
    ("MAUVE", "sampled", "mauve"),
    ("held-out NLL", "", "held_out_nll"),
    ("repair", "", "repair_rate"),
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
    """Means over seeds at each method's highest noise level, scores in points, and the paper's numbers."""
    columns = {}
    for heading, decoding, wanted in TABLE_COLUMNS:
        having = [
            c.quantity
            for c in table.cells
            if c.decoding == decoding and not c.against and c.quantity.partition("[")[0] == wanted
        ]
        if having:
            columns[heading + (f" ({key(having[0])})" if key(having[0]) else "")] = (decoding, having[0])
    papers = {cell.variant: cell.in_points.paper for cell in table.cells if cell.paper}
    real = [REFERENCE] if any(cell.variant == REFERENCE for cell in table.cells) else []
    rows: list[Sequence[str]] = []
    highest = {variant.method: variant for variant in table.variants}  # eta ascends
    for variant in (*highest.values(), *real):
        # The measures of real text belong to no decoding.
        row = [table.find(variant, *place) or table.find(variant, "", place[1]) for place in columns.values()]
        name = "real text" if variant == REFERENCE else variant.name
        means = [cell.in_points if cell and cell.quantity in METRICS else cell for cell in row]
        rows.append([name, *map(plain, means), *([printed(papers.get(variant))] if papers else [])])
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
    """A bullet: the title of a benchmark as a link to its page, and how many of its targets are met."""
    name = file.stem.rpartition("_")[2]
    targets = [said for said in VERDICTS[name](read_costs(file)) if said.endswith("met*.")] if name in VERDICTS else []
    met = f": {sum(said.endswith('*met*.') for said in targets)} of {len(targets)} targets met" if targets else ""
    return f"- [{BENCHMARKS[name].title}]({_page(file, kept)}){met}"


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
