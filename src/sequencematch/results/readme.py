"""What the README and docs/ show of the kept results: an answer, the tables in a few columns, costs, the map's numbers.

docs/map_numbers.csv has a line for each number of docs/map.md that stands on the map, in the order of the text: the
number as it is written, and its place. So the page holds plain numbers, and can be edited.
"""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.results import estimates, measure, pages, words
from sequencematch.results.estimates import REFERENCE, Estimate, Table, Variant, bracketed, grouped, read_table
from sequencematch.settings.decoding_names import without_rule
from sequencematch.store.files import read_csv, read_json

# The scales of dead ends, of few examples, of real translations, and of deleted tokens that stay visible.
GRAPHS, FEW, CAPTIONS, KEEP = "graphs", "few", "multi30k", "keep"
SHOWN = ("translation", "mul", "graphs")  # the tasks of the README's table; docs/results.md has all


def blocks(kept: Path, main: str) -> dict[str, str]:
    """What stands between the markers of the README and of docs/, by the name of the marker."""
    tables = kept_tables(kept, main)
    results = kept_results(kept, main)
    looking = [table.in_points for table in tables if table.scale in (main, GRAPHS, CAPTIONS)]
    ours = {row: table for row, table in results.items() if table.scale in (main, GRAPHS, FEW)}
    shown = {row: ours[row] for row in SHOWN if row in ours}
    return {
        "answers": "".join(f"- {sentence}\n" for sentence in answers(ours, SHOWN)),
        "differences": f"{differences(shown, measure.LEARNED)}\n",
        "all differences": f"{differences(results, measure.DRAWN)}\n",
        "dead ends": f"{dead_ends([table for table in results.values() if table.scale == GRAPHS])}\n",
        "lookahead": f"{looked_ahead(looking, main)}\n",
        "erase or keep": f"{erase_or_keep([table.in_points for table in tables if table.scale == KEEP])}\n",
        "tables": "\n".join(filter(None, map(scale_in_short, kept_scales(kept, main)))),
        "overheads": costs_in_short(kept, main),
    }


MORE, NO_MORE, GAINS, LOSES = VERBS = (
    "gains more than the takeback rule",  # the whole interval is above it
    "gains no more than the takeback rule, which needs no training,",
    "gains",
    "loses",
)
# A row of results, what a learned deletion adds to MLE there, and what the takeback rule adds.
Change = tuple[str, Estimate, Estimate | None]


def answers(results: Mapping[str, Table], named: Collection[str] = ()) -> list[str]:
    """The answer in a few sentences: where a learned deletion gains what no rule does, where not, and SM vs. BC.

    results: tables in points. named: the rows that the sentences on deletion name (all, if it is empty).
    """
    changes: dict[str, list[Change]] = {verb: [] for verb in VERBS}
    for row, table in results.items():
        for decoding in measure.columns_of(table).values() if row in (named or results) else ():
            learned = filter(None, (measure.difference(table, method, "mle", decoding) for method in measure.LEARNED))
            if not (measured := sorted(learned, key=lambda cell: cell.mean)):
                continue
            worst, best, rule = measured[0], measured[-1], measure.of_rule(table, decoding)
            if best.significant and best.mean > 0:
                more = best.low is not None and rule is not None and best.low > rule.mean
                changes[GAINS if rule is None else MORE if more else NO_MORE].append((row, best, rule))
            if worst.significant and worst.mean < 0:
                changes[LOSES].append((row, worst, None))
    said = [(verb, _where(some)) for verb, some in changes.items() if some]
    subjects = ["A learned deletion", *["It"] * len(said)]
    sentences = [f"**{subject} {verb}** {where}." for subject, (verb, where) in zip(subjects, said, strict=False)]
    if changes[LOSES]:  # one sentence with what it gains, so that the README says three things
        sentences[-2:] = [" ".join(sentences[-2:])]
    return [*sentences, *_sm_and_bc(results)]


def _where(changes: Sequence[Change]) -> str:
    """'when perturbed at 0.1 on mul (BC +14.9, takeback rule +22.0)'."""

    def sizes(row: str, learned: Estimate, rule: Estimate | None) -> str:
        beside = f", takeback rule {words.signed(rule)}" if rule else ""
        return f"{row} ({learned.variant.label} {words.signed(learned)}{beside})"

    phrases = grouped(changes, lambda change: words.decoding_phrase(change[1].decoding)).items()
    return words.enumerated([f"{at} on {words.enumerated([sizes(*one) for one in some])}" for at, some in phrases])


def _sm_and_bc(results: Mapping[str, Table]) -> list[str]:
    """In how many comparisons SM differs from BC significantly, without a rule (with one, all delete); and pooled."""
    compared = [cell for table in results.values() for cell in table.differences() if cell.variant.method == "sm"]
    pairs = [c for c in compared if c.name.endswith("_minus_bc") and without_rule(c.decoding) == c.decoding]
    verdicts = Counter(map(words.verdict, pairs))
    better, worse = verdicts["significantly better"], verdicts["significantly worse"]
    counts = f"better in {better}, worse in {worse}" if better or worse else "different in none"
    counts = f"significantly {counts} of {len(pairs)} comparisons."
    lines = [line for line in measure.over_tasks(results.values()) if line.against and line.against.method == "bc"]
    said = " ".join(["**SequenceMatch vs. behavioural cloning:**", counts, *words.pooled_sentences(lines)])
    return [said] if pairs else []


def differences(results: Mapping[str, Table], methods: Collection[str]) -> words.Grid:
    """Task by decoding: MLE's score, and what each method and the takeback rule add; significant in bold. In points."""
    labels, rows, rule = [], [], "takeback rule"
    for label, table in results.items():
        for decoding in measure.columns_of(table).values():
            added = {method: measure.difference(table, method, "mle", decoding) for method in methods}
            score = table.find(measure.BASELINE, decoding, table.metric)
            rows.append({"mle": score, rule: measure.of_rule(table, decoding), **added})
            labels.append([label, words.decoding_label(decoding)])
    columns = {**{Variant(method, 0).label: method for method in methods}, rule: rule}
    return (
        words.Grid(["task", "decoding"], labels)
        + words.numbers(rows, {"MLE": "mle"}, dict.get, words.plain)
        + words.numbers(rows, columns, dict.get, words.signed_bold)
    )


# What an answer to a graph is worth and costs, decoded in these ways.
WAYS = ("sampled", "greedy", "greedy+memory", "memory", "takeback_ratio=0.3", "best_of=2")


def dead_ends(tables: Sequence[Table]) -> words.Grid:
    """Points, and in brackets tokens written and deletions, by task and method; MLE once for tasks of equal graphs."""

    def cell(table: Table, variant: Variant, way: str) -> str:
        measured = (table.metric, "pushes_per_sequence", "pops_per_sequence")
        score, *costs = (table.find(variant, way, quantity) for quantity in measured)
        written = " + ".join(words.number(cost.mean, 1) for cost in costs if cost and cost.mean)
        return words.plain(score) + f" ({written})" * bool(written) if score else "-"

    found = [table.find(measure.BASELINE, "greedy", table.metric) for table in tables]
    scores = [score.mean if score else None for score in found]
    first = [score not in scores[:i] for i, score in enumerate(scores)]
    rows = [(t, v) for t, new in zip(tables, first, strict=True) for v in t.variants if new or v != measure.BASELINE]
    cells = [[table.task, variant.label, *(cell(table, variant, way) for way in WAYS)] for table, variant in rows]
    return words.Grid(["task", "method", *map(words.decoding_label, WAYS)], cells)


AHEAD, BEAMS = "greedy+lookahead=0.75", "greedy+beams=2"
HEAD = Variant("head", 0.0)
# Rows: decoding, method, and the names of the paired differences to greedy decoding and to lookahead without a head.
STEPS = (
    ("greedy", measure.BASELINE, "", ""),
    (BEAMS, measure.BASELINE, "_minus_mle[greedy]", ""),
    (AHEAD, measure.BASELINE, "_minus_mle[greedy]", ""),
    (AHEAD, HEAD, "_minus_head[greedy]", "_minus_mle"),
)


def looked_ahead(tables: Sequence[Table], main: str) -> words.Grid:
    """Greedy decoding of MLE, a beam of two, lookahead, and lookahead with a deletion head: points, gains, tokens.

    Of several tables (in points) with the same models of MLE, the one with a head.
    """
    found = [(table.find(measure.BASELINE, AHEAD, table.metric), table) for table in tables]
    measured = sorted(((score.mean, table) for score, table in found if score), key=lambda one: HEAD in one[1].variants)
    rows = []
    for table, (decoding, variant, *against) in itertools.product(dict(measured).values(), STEPS):
        row = measure.row_of(table, main)
        score, tokens = (table.find(variant, decoding, name) for name in (table.metric, "pushes_per_sequence"))
        if score and tokens:
            gains = [table.find(variant, decoding, table.metric + name) if name else None for name in against]
            shown = [f"{words.signed_bold(gain)} ({words.span(gain)})" if gain else "" for gain in gains]
            way = f"{variant.label}, {words.decoding_label(decoding)}"
            rows.append([row, way, words.plain(score), *shown, words.number(tokens.mean, 2)])
    header = ["task", "decoding", "points", "more than greedy", "more than looking ahead", "tokens per answer"]
    return words.Grid(header, rows)


# How BC, which erases what it deletes, and policies that keep it are compared.
READ = ("sampled", "greedy", "perturbed=0.1", "greedy+memory")


def erase_or_keep(tables: Sequence[Table]) -> words.Grid:
    """BC's points, what keeping adds to them, and the shares of answers that are cut off, by task and decoding."""
    labels, rows = [], []
    for table, decoding in itertools.product(tables, READ):
        own = {variant.method: variant for variant in table.variants}
        if table.find(own["bc"], decoding, table.metric):
            labels.append([table.task.replace("_", " "), words.decoding_label(decoding)])
            rows.append((table, own, decoding))

    def found(row, column: tuple[str, str]) -> Estimate | None:
        (table, own, decoding), (method, quantity) = row, column
        return table.find(own[method], decoding, quantity.format(table.metric)) if method in own else None

    gains = {"keep vs. BC": ("keep", "{}_minus_bc"), "rewind vs. BC": ("rewind", "{}_minus_bc")}
    cut_off = {f"cut off, {name}": (name.lower(), "cut_off_share") for name in ("BC", "keep", "rewind")}
    grid = words.Grid(["task", "decoding"], labels) + words.numbers(rows, {"BC": ("bc", "{}")}, found, words.plain)
    return (
        grid + words.numbers(rows, gains, found, words.signed_bold) + words.numbers(rows, cut_off, found, words.plain)
    )


# The short form of a table of texts: heading, decoding, quantity. Of several rates of repair the first is shown.
TEXT_COLUMNS = (
    ("perplexity", "sampled", "perplexity"),
    ("MAUVE", "sampled", "mauve"),
    ("held-out NLL", "", "held_out_nll"),
    ("repair", "", "repair_rate"),
)


def kept_scales(kept: Path, first: str) -> list[Path]:
    """The folders of scales, the scale ``first`` before the others."""
    return sorted(filter(Path.is_dir, kept.iterdir()), key=lambda folder: (folder.name != first, folder.name))


def kept_facts(folder: Path) -> dict:
    """The provenance.json of a kept folder; empty where there is none."""
    record = folder / "provenance.json"
    return read_json(record) if record.is_file() else {}


def scale_in_short(reference: Path) -> str:
    """A scale's tables as links, those of texts in a few columns; the differences table has the scores of the others.

    Empty if it has none, or only trials on validation questions.
    """
    content = kept_facts(reference)
    if not content or is_of_validation(reference) or not content["config"]["tables"]:
        return ""
    where = f"commit {', '.join(content['commits'])}; {content['machine']}; Python {content['python']}"
    parts = [f"Scale `{reference.name}`, {len(content['config']['seeds'])} seeds; {where}.\n"]
    for name, table in content["config"]["tables"].items():
        files = [f for f in (reference / f"{name}.md", reference / f"{name}.csv") if f.is_file()]
        if files:  # a scale may be kept before all its tables are made
            parts.append(f"- [{table['title']}]({files[0].relative_to(reference.parents[2])})")
            measured = read_table(reference / f"{name}.csv")
            parts += [] if measured.metric else ["", str(short_grid(measured)), ""]
    return "\n".join([*parts, ""])


def short_grid(table: Table) -> words.Grid:
    """What texts are worth: means over seeds at each method's highest noise level."""
    columns = {}
    for title, decoding, wanted in TEXT_COLUMNS:
        own = [c.quantity for c in table.cells if c.decoding == decoding and not c.against]
        if name := next((quantity for quantity in own if quantity.partition("[")[0] == wanted), ""):
            columns[f"{title} ({bracketed(name)})" if bracketed(name) else title] = decoding, name
    rows = list({variant.method: variant for variant in table.variants}.values())  # eta ascends
    rows += [REFERENCE] if any(cell.variant == REFERENCE for cell in table.cells) else []

    def found(variant: Variant, column: tuple[str, str]) -> Estimate | None:
        return table.find(variant, *column) or table.find(variant, "", column[1])  # real text has no decoding

    labels = words.Grid(["method"], [["real text" if variant == REFERENCE else variant.name] for variant in rows])
    return labels + words.numbers(rows, columns, found, words.plain)


OVERHEADS = "overheads"
SHORT_COSTS = {"step, times MLE": "step_ratio", "amortised, times MLE": "amortised_ratio", "token floor": "token_floor"}


def costs_in_short(kept: Path, first: str) -> str:
    """The cost tables of all scales kept in a folder: ratios to MLE, their token floors, and the paper's."""
    parts = []
    for scale in kept_scales(kept, first):
        content = kept_facts(scale / OVERHEADS)
        for name, table in content["config"]["overheads"].items() if content else ():
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
    said = words.benchmark_verdicts(read_table(file).cells)
    met = [verdict.endswith("*met*.") for verdict in said if verdict.endswith("met*.")]  # others state no target
    result = f": {sum(met)} of {len(met)} targets met" if met else ""
    return f"- [{words.BENCHMARKS[name].title}]({_page(file, kept)}){result}"


def short_costs(costs: Sequence[Estimate]) -> words.Grid:
    """From the naive way to ours in each case."""
    papers = dict(zip(("paper, step", "paper, amortised"), pages.OF_PAPER, strict=True))
    cases = grouped(costs, lambda cost: cost.where.task)
    grids = {case: pages.cost_grid(of_case, SHORT_COSTS, papers, words.plain) for case, of_case in cases.items()}
    lines = [[case, *line] for case, grid in grids.items() for line in grid.rows]
    return words.Grid(["lengths", "row", *SHORT_COSTS, *papers], lines)


MAP = "map"


def kept_results(kept: Path, main: str) -> dict[str, Table]:
    """Of ``kept_tables``, those with a score of MLE and BC, by the label of their row; without the scale ``KEEP``."""
    return measure.results_of((table for table in kept_tables(kept, main) if table.scale != KEEP), main)


def kept_tables(kept: Path, main: str) -> list[Table]:
    """The tables in a folder of kept scales, ``main`` first, without trials."""
    folders = [folder for folder in kept_scales(kept, main) if not is_of_validation(folder)]
    return [read_table(file) for folder in folders for file in sorted(folder.glob("*.csv")) if file.stem != MAP]


def is_of_validation(reference: Path) -> bool:
    """Whether a kept scale was measured on validation questions. Such scales are trials, not results."""
    content = kept_facts(reference)
    return bool(content) and content["config"]["evaluation"]["split"] == "validation"


PLACE = ("axis", "at", "reading", "roles")


def quote_map(page: Path, numbers: Path, kept: Path) -> dict[Path, str]:
    """What the page and its file of numbers say with the map in the folder ``kept``."""
    text, rows = with_numbers(page.read_text(), read_csv(numbers), read_table(kept / "map.csv").cells)
    return {page: text, numbers: estimates.csv_text(rows)}


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
        number = words.signed_bold(estimate) if estimate.against else words.plain(estimate)
        done, text = done + text[: found.start()] + number, text[found.end() :]
        written.append({"number": number, **{name: row[name] for name in PLACE}})
    return done + text, written
