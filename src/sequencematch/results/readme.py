"""What the README and docs/ show of the kept results: an answer, the tables in a few columns, costs, the map's numbers.

docs/map_numbers.csv has a line for each number of docs/map.md that stands on the map, in the order of the text: the
number as it is written, and its place. So the page holds plain numbers, and can be edited. And whether another run
agrees with the kept one: estimates against prediction intervals, and verdicts.
"""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.results.estimates import (
    METRICS,
    REFERENCE,
    Estimate,
    Table,
    Variant,
    bracketed,
    csv_text,
    read_table,
)
from sequencematch.results.intervals import COVERAGE
from sequencematch.results.measure import (
    BASELINE,
    DRAWN,
    LEARNED,
    decoding_of,
    drawn,
    of_rule,
    ordered,
    over_tasks,
    results_of,
    row_of,
    to_mle,
)
from sequencematch.results.pages import OF_PAPER, of_paper
from sequencematch.results.words import (
    BENCHMARKS,
    LABELS,
    VERDICTS,
    Grid,
    decoding_label,
    decoding_phrase,
    describe,
    enumerated,
    heading,
    number,
    numbers,
    pair,
    plain,
    pooled_sentences,
    sides,
    signed,
    signed_bold,
    span,
    without_marks,
)
from sequencematch.settings.decoding_names import without_rule
from sequencematch.settings.map import COLUMNS
from sequencematch.store.files import read_csv, read_json

# The scales of dead ends, of few examples and many epochs, of real translations, and of the deletion head.
GRAPHS, FEW, CAPTIONS, HEADS = "graphs", "few", "multi30k", "head"
SHOWN = ("translation", "mul", "graphs")  # the tasks of the README's table; docs/results.md has all


# ---- the answer -------------------------------------------------------------------------------------


def blocks(kept: Path, main: str) -> dict[str, str]:
    """What stands between the markers of the README and of docs/, by the name of the marker."""
    tables = kept_tables(kept, main)
    results = results_of(tables, main)
    looking = [table for table in tables if table.scale in (main, GRAPHS, CAPTIONS, HEADS)]
    ours = {row: table for row, table in results.items() if table.scale in (main, GRAPHS, FEW)}
    return {
        "answers": "".join(f"- {sentence}\n" for sentence in answers(ours, SHOWN)),
        "differences": f"{differences({row: ours[row] for row in SHOWN if row in ours}, LEARNED)}\n",
        "all differences": f"{differences(results, DRAWN)}\n",
        "dead ends": f"{dead_ends([table for table in results.values() if table.scale == GRAPHS])}\n",
        "lookahead": f"{looked_ahead(looking, main)}\n",
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


def answers(results: Mapping[str, Table], named: Collection[str] = ()) -> list[str]:
    """The answer in a few sentences: where a learned deletion gains what no rule does, where not, and SM vs. BC.

    named: the rows that the sentences on deletion name (all, if it is empty).
    """
    found = [gain for row, table in results.items() if row in (named or results) for gain in _gains(row, table)]
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
        learned = [to_mle(table, variant, decoding) for variant in drawn(table) if variant.method in LEARNED]
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
    rows = [
        (label, table, decoding)
        for label, table in results.items()
        for decoding in filter(None, (decoding_of(table, column) for column in COLUMNS))
    ]

    def added(row: tuple[str, Table, str], method: str) -> Estimate | None:
        _, table, decoding = row
        variants = [variant for variant in drawn(table) if variant.method == method]
        return to_mle(table, variants[0], decoding) if variants else None

    columns = {Variant(method, 0).label: method for method in methods}
    return (
        Grid(["task", "decoding"], [[label, decoding_label(decoding)] for label, _, decoding in rows])
        + numbers(rows, {"MLE": BASELINE}, lambda row, of: points(row[1].find(of, row[2], row[1].metric)), plain)
        + numbers(rows, columns, added, signed_bold)
        + numbers(rows, {"takeback rule": None}, lambda row, _: of_rule(row[1], row[2]), signed_bold)
    )


def points(cell: Estimate | None) -> Estimate | None:
    """A score in points, where there is one."""
    return cell.in_points if cell else None


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
                written = " + ".join(number(cost.mean, 1) for cost in costs if cost and cost.mean)
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
    measured.sort(key=lambda table: HEAD in table.variants)
    chosen = {row_of(table, table.scale if table.scale == HEADS else main): table for table in measured}
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
                rows.append([row, way, plain(score.in_points), *shown, number(tokens.mean, 2)])
    return Grid(["task", "decoding", "points", "more than above", "95% interval", "tokens per answer"], rows)


# ---- tables -----------------------------------------------------------------------------------------

# The short form of a table of texts: heading, decoding, quantity. Of several rates of repair the first is shown.
TEXT_COLUMNS = (
    ("perplexity", "sampled", "perplexity"),
    ("MAUVE", "sampled", "mauve"),
    ("held-out NLL", "", "held_out_nll"),
    ("repair", "", "repair_rate"),
)


def in_short(kept: Path, first: str) -> str:
    """The tables of all scales kept in a folder, the scale ``first`` before the others."""
    return "\n".join(filter(None, map(scale_in_short, kept_scales(kept, "provenance.json", first))))


def kept_scales(kept: Path, file: str, first: str) -> list[Path]:
    """The folders of scales that have a file, the scale ``first`` before the others."""
    having = [folder for folder in kept.iterdir() if (folder / file).is_file()]
    return sorted(having, key=lambda folder: (folder.name != first, folder.name))


def scale_in_short(reference: Path) -> str:
    """A scale's tables as links, those of texts in a few columns; the differences table has the scores of the others.

    Empty if it has none, or only trials on validation questions.
    """
    content = read_json(reference / "provenance.json")
    if not content["config"]["tables"] or is_of_validation(reference):
        return ""
    where = f"commit {', '.join(content['commits'])}; {content['machine']}; Python {content['python']}"
    parts = [f"Scale `{reference.name}`, {len(content['config']['seeds'])} seeds; {where}.\n"]
    for name, table in content["config"]["tables"].items():
        page = next((f for f in (reference / f"{name}.md", reference / f"{name}.csv") if f.is_file()), None)
        if page is None:  # a scale may be kept before all its tables are made
            continue
        parts.append(f"- [{table['title']}]({page.relative_to(reference.parents[2])})")
        measured = read_table(reference / f"{name}.csv")
        parts += ["", str(short_grid(measured)), ""] if measured.metric not in METRICS else []
    return "\n".join([*parts, ""])


def short_grid(table: Table) -> Grid:
    """What texts are worth: means over seeds at each method's highest noise level."""
    columns = {}
    for title, decoding, wanted in TEXT_COLUMNS:
        having = [
            c.quantity
            for c in table.cells
            if c.decoding == decoding and not c.against and c.quantity.partition("[")[0] == wanted
        ]
        if having:
            columns[title + (f" ({bracketed(having[0])})" if bracketed(having[0]) else "")] = (decoding, having[0])
    real = [REFERENCE] if any(cell.variant == REFERENCE for cell in table.cells) else []
    highest = {variant.method: variant for variant in table.variants}  # eta ascends
    rows = [*highest.values(), *real]

    def found(variant: Variant, column: tuple[str, str]) -> Estimate | None:
        return table.find(variant, *column) or table.find(variant, "", column[1])  # real text has no decoding

    labels = Grid(["method"], [["real text" if variant == REFERENCE else variant.name] for variant in rows])
    return labels + numbers(rows, columns, found, plain)


# ---- costs ------------------------------------------------------------------------------------------

OVERHEADS = "overheads"
SHORT_COSTS = {
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
                parts += [str(short_costs(read_table(file).cells)), ""]
                benchmarks = [_in_a_line(file, kept) for file in sorted(file.parent.glob(f"{name}_*.csv"))]
                parts += [*benchmarks, *[""] * bool(benchmarks)]
    return "\n".join(parts)


def _page(file: Path, kept: Path) -> Path:
    """Where the page of a kept CSV is, seen from the root of the repository."""
    return file.with_suffix(".md").relative_to(kept.parents[1])


def _in_a_line(file: Path, kept: Path) -> str:
    """A bullet: the title of a benchmark as a link to its page, and how many of its targets are met."""
    name = file.stem.rpartition("_")[2]
    targets = (
        [said for said in VERDICTS[name](read_table(file).cells) if said.endswith("met*.")] if name in VERDICTS else []
    )
    met = f": {sum(said.endswith('*met*.') for said in targets)} of {len(targets)} targets met" if targets else ""
    return f"- [{BENCHMARKS[name].title}]({_page(file, kept)}){met}"


def short_costs(costs: Sequence[Estimate]) -> Grid:
    """From the naive way to ours in each case."""
    found = {(c.where.task, c.where.method, c.quantity): c for c in costs}
    cases = dict.fromkeys(c.where.task for c in costs)
    rows = [
        (case, row)
        for case in cases
        for row in ordered(list(dict.fromkeys(c.where.method for c in costs if c.where.task == case)))
    ]
    papers = dict(zip(("paper, step", "paper, amortised"), OF_PAPER, strict=True))
    return (
        Grid(["lengths", "row"], [[case, LABELS[row]] for case, row in rows])
        + numbers(rows, SHORT_COSTS, lambda row, name: found[*row, name], plain)
        + numbers(rows, papers, lambda row, name: found[*row, name], of_paper)
    )


MAP = "map"
# Not fair to SM: of 6,000 examples it saw the few hundred whose prompts were drawn for rollouts.
UNFAIR = ("pretrained",)


def kept_results(kept: Path, main: str) -> dict[str, Table]:
    """Of ``kept_tables``, those with a score of MLE and BC, by the label of their row."""
    return results_of(kept_tables(kept, main), main)


def kept_tables(kept: Path, main: str) -> list[Table]:
    """The tables in a folder of kept scales, ``main`` first, without trials and without what is ``UNFAIR``."""
    results = [f for f in kept.iterdir() if f.is_dir() and f.name not in UNFAIR and not is_of_validation(f)]
    folders = sorted(results, key=lambda folder: (folder.name != main, folder.name))
    files = [file for folder in folders for file in sorted(folder.glob("*.csv")) if file.stem != MAP]
    return [read_table(file) for file in files]


def is_of_validation(reference: Path) -> bool:
    """Whether a kept scale was measured on validation questions. Such scales are trials, not results."""
    record = reference / "provenance.json"
    return record.is_file() and json.loads(record.read_text())["config"]["evaluation"]["split"] == "validation"


# ---- what docs/map.md quotes ------------------------------------------------------------------------

PLACE = ("axis", "at", "reading", "roles")


def quote_map(page: Path, numbers: Path, kept: Path) -> dict[Path, str]:
    """What the page and its file of numbers say with the map in the folder ``kept``."""
    text, rows = with_numbers(page.read_text(), read_csv(numbers), read_table(kept / "map.csv").cells)
    return {page: text, numbers: csv_text(rows)}


def with_numbers(text: str, rows: Sequence[Mapping[str, str]], effects: Sequence[Estimate]) -> tuple[str, list[dict]]:
    """A text and the lines of its numbers, both as the map has them.

    Differences get their sign, and are in bold where they are significant. Raises UserError where a number is not in
    the text after the number before it, or names a place that is not on the map.
    """
    on_map = {tuple(getattr(effect.cell, name) for name in PLACE): effect for effect in effects}
    done, written = "", []
    for row in rows:
        place = tuple(row[name] for name in PLACE)
        if place not in on_map:
            raise UserError(f"docs/map_numbers.csv names a place that is not on the map: {'/'.join(place)}")
        found = re.search(rf"(?<![\w.+*-]){re.escape(row['number'])}(?![\w*]|\.\d)", text)
        if not found:
            raise UserError(
                f"docs/map.md has no '{row['number']}' ({'/'.join(place)}) where docs/map_numbers.csv has it: "
                "put its line where the number stands, or leave it out"
            )
        estimate = on_map[place]
        number = signed_bold(estimate) if estimate.against else plain(estimate)
        done, text = done + text[: found.start()] + number, text[found.end() :]
        written.append({"number": number, **{name: row[name] for name in PLACE}})
    return done + text, written


# ---- another run and the kept one -------------------------------------------------------------------


def agreement(results: Path, reference: Path) -> Iterator[str]:
    """Lines about each table of a scale's folder that is kept too; '' between what is said of two tables."""
    yield from _other_runs(results, reference)
    tables = [file for file in sorted((results / "tables").glob("*.csv")) if (reference / file.name).is_file()]
    if not tables:
        yield f"'{results}' holds no table that is kept in '{reference}': run make first."
    for file in tables:
        yield from compare_tables(read_table(file), read_table(reference / file.name))


def compare_tables(own: Table, kept: Table) -> Iterator[str]:
    """How many estimates lie in the kept run's prediction interval, which do not, and which verdicts changed.

    The interval is for the mean of as many new seeds as ``own`` has, on the same questions: Student's, with the spread
    between the seeds of ``kept`` times sqrt(1 / its seeds + 1 / own seeds). What did not differ between the kept seeds
    predicts nothing, and is left out.
    """
    pairs = [(cell, before) for cell in own.cells if (before := kept.find(cell.variant, cell.decoding, cell.name))]
    spread = [(cell, before, _reach(before.sd, kept.seeds, own.seeds)) for cell, before in pairs if before.sd]
    outside = [(cell, before, reach) for cell, before, reach in spread if abs(cell.mean - before.mean) > reach]
    yield (
        f"{own.name}: {len(spread) - len(outside)} of {len(spread)} estimates lie in the 95% prediction interval of "
        f"the kept run ({kept.seeds} seeds there, {own.seeds} here); chance alone leaves one in twenty outside."
    )
    for cell, before, reach in outside:
        digits = describe(cell.quantity).digits
        between = f"{number(before.mean - reach, digits)} to {number(before.mean + reach, digits)}"
        yield f"  outside: {_place(cell)}: {plain(cell)}, kept {plain(before)} (predicted {between})"
    # Tables of before 2026-12 have no p-values, so nothing there is significant in the present sense.
    judged = [(cell, before) for cell, before in pairs if cell.p is not None and before.p is not None]
    changed = [(cell, before) for cell, before in judged if _verdict(cell) != _verdict(before)]
    yield f"  {len(changed)} of {len(judged)} verdicts changed."
    for cell, before in changed:
        was, now = (f"{_verdict(one)} ({signed(one)})" for one in (before, cell))
        yield f"  changed: {_place(cell)}: kept {was}, here {now}"


def _reach(sd: float, kept: int, own: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(kept - 1, (1 + COVERAGE) / 2)) * sd * math.sqrt(1 / kept + 1 / own)


def _verdict(cell: Estimate) -> str:
    better, worse = sides([cell])
    return "significantly better" if better else "significantly worse" if worse else "not significant"


def _place(cell: Estimate) -> str:
    what = f"{pair(cell)}, η = {cell.variant.eta:g}" if cell.against else cell.variant.name
    decoding = decoding_label(cell.decoding) if cell.decoding else ""
    return without_marks(", ".join(filter(None, (what, decoding, heading(cell.quantity)))))


def _other_runs(results: Path, reference: Path) -> Iterator[str]:
    """A note where runs of a task differ from the kept ones in data, model or steps (one run of each is looked at)."""
    kept = read_json(reference / "provenance.json", "take it from the repository again").get("budgets", {})
    first: dict[str, str] = {}
    for run in kept:
        if (results / run / "metrics.json").is_file():
            first.setdefault(run.split("/")[0], run)
    for task, run in first.items():
        budget = read_json(results / run / "metrics.json", "score the run again")["budget"]
        if differing := sorted(name for name, value in kept[run].items() if budget.get(name) != value):
            names = ", ".join(name.removesuffix("_digest").replace("_", " ") for name in differing)
            yield f"note: the runs of {task} are no repetition of the kept ones: they differ in {names}."
