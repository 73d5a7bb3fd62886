"""Does SequenceMatch help? Paired differences to MLE on every task, as one forest plot, and pooled."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sequencematch.results.estimates import Estimate, Place, Table, read_table
from sequencematch.results.figures import Dot, Panel, dot_of, plot_dots
from sequencematch.results.intervals import adjusted, pooled
from sequencematch.results.variants import METHODS, RULE, Variant
from sequencematch.results.words import INTERVAL, decoding_label, enumerated, p_value, signed_bold, span

COMPARED = ("bc", "sm")
DRAWN = (*COMPARED, "dagger")  # the last one only where a table has it
BASELINE = Variant("mle", 0.0)
MAP, RULED = "map", "MLE with the takeback rule"
# Not fair to SM: of 6,000 examples it saw the few hundred whose prompts were drawn for rollouts.
UNFAIR = ("pretrained",)
RATIO = "takeback_ratio="
POOLED = "all tasks"
AXIS = "difference to MLE, points"
NOTE = "Accuracy in %, or BLEU. Dots: mean; bars: 95% interval; methods with <bkspc> at {etas}; {sizes}."
COLUMNS = ("sampled", "greedy", "perturbed")


def results_of(tables: Iterable[Table], main: str) -> dict[str, Table]:
    """The tables with a score of MLE and BC, by the label of their row: the task, and a scale other than ``main``."""
    chosen: dict[str, Table] = {}
    for table in tables:
        if table.metric and {"mle", "bc"} <= {variant.method for variant in table.variants}:
            chosen.setdefault(row_of(table, main), table)
    return chosen


def row_of(table: Table, main: str) -> str:
    """The label of a table's row: its task, and a scale other than ``main``."""
    label = table.task.replace("_", " ")
    named = table.scale == main or table.task.startswith(table.scale)
    return label if named else f"{label} ({table.scale})"


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


def decoding_of(table: Table, column: str) -> str | None:
    """The table's first decoding of a column: the one named like it, or ``perturbed=0.1`` for 'perturbed'."""
    names = table.decodings_of(table.metric)
    return next((name for name in names if name == column or (name.startswith(f"{column}=") and "+" not in name)), None)


def drawn(table: Table) -> list[Variant]:
    """BC, SM and, where the table has it, DAgger at their highest noise levels."""
    highest = {variant.method: variant for variant in sorted(table.variants, key=lambda variant: variant.eta)}
    return [highest[method] for method in DRAWN if method in highest]


def to_mle(table: Table, variant: Variant, decoding: str) -> Estimate | None:
    """A method's paired difference to MLE in points."""
    cell = table.find(variant, decoding, f"{table.metric}_minus_mle")
    return cell.in_points if cell else None


def of_rule(table: Table, decoding: str) -> Estimate | None:
    """What the takeback rule adds to MLE in points: by a ratio, if there are several rules."""
    own = [c for c in table.differences() if c.against and c.variant == c.against.variant == BASELINE]
    own = [cell for cell in own if cell.against and cell.against.decoding == decoding]
    return next((cell.in_points for cell in sorted(own, key=lambda cell: RATIO not in cell.decoding)), None)


# ---- the plot ---------------------------------------------------------------------------------------


def plot_forest(results: Mapping[str, Table], lines: Sequence[Estimate], path: Path) -> None:
    """The forest plot as a PNG."""
    heading = "Does SequenceMatch help? Paired differences to MLE"
    plot_dots(forest_panels(results, lines), heading, forest_note(results), path)


def forest_panels(results: Mapping[str, Table], lines: Sequence[Estimate]) -> list[Panel]:
    """Sampled, greedy and perturbed; a row for each task, and one for the differences pooled over tasks (``lines``)."""
    panels = []
    for column in COLUMNS:
        decodings = {row: name for row, table in results.items() if (name := decoding_of(table, column))}
        dots = [dot for row, name in decodings.items() for dot in _dots(row, results[row], name)]
        of_method = Counter(dot.series for dot in dots)
        dots += [
            dot_of(line, POOLED, line.variant.label, METHODS[line.variant.method])
            for line in lines
            if line.decoding == column and line.against and line.against.method == BASELINE.method
            if line.n == of_method[line.variant.label]  # all tasks of the panel: earlier files cannot be pooled
        ]
        if dots:
            panels.append(Panel(" / ".join(map(decoding_label, dict.fromkeys(decodings.values()))), AXIS, dots, 0.0))
    return panels


def _dots(row: str, table: Table, decoding: str) -> list[Dot]:
    found = [(variant.label, variant.method, to_mle(table, variant, decoding)) for variant in drawn(table)]
    found.append((RULED, RULE, of_rule(table, decoding)))
    return [dot_of(cell, row, label, METHODS[colour]) for label, colour, cell in found if cell]


def forest_note(results: Mapping[str, Table]) -> str:
    """What the dots and bars are, and the sizes."""
    tables = results.values()
    etas = sorted({variant.eta for table in tables for variant in drawn(table)})
    seeds, questions = ({getattr(table, name) for table in tables} for name in ("seeds", "questions"))
    sizes = f"{_range(seeds)} seeds, {_range(questions)} questions"
    return NOTE.format(etas=f"η = {enumerated([f'{eta:g}' for eta in etas])}", sizes=sizes)


def _range(values: Iterable[int]) -> str:
    low, high = min(values := sorted(values)), max(values)
    return f"{low}" if low == high else f"{low}-{high}"


# ---- over all tasks ---------------------------------------------------------------------------------

PAIRS = (("sm", "bc"), ("sm", "mle"), ("bc", "mle"))


def over_tasks(tables: Iterable[Table]) -> list[Estimate]:
    """Each pair in each column (its ``decoding``), pooled over the tables that have it; ``n``: how many tables.

    Methods are at their highest noise levels. ``intervals.pooled`` has the formula; the p-values are corrected for the
    number of these lines. Tables of one seed, and those of before 2026-12, whose files hold no standard errors, are
    left out; so are lines of fewer than two tables.
    """
    tables, lines = list(tables), []
    for method, other in PAIRS:
        for column in COLUMNS:
            found = [(cell, table) for table in tables if (cell := _difference(table, method, other, column))]
            if len(found) > 1:
                line = pooled([cell.in_points for cell, _ in found], [table.seeds for _, table in found])
                where, against = (Place(method=name, decoding=column) for name in (method, other))
                lines.append(replace(line, where=where, quantity="points", against=against, n=len(found)))
    return adjusted(lines)


def _difference(table: Table, method: str, other: str, column: str) -> Estimate | None:
    """The difference of two methods in a column; None where it cannot be pooled."""
    decoding = decoding_of(table, column)
    variant = next((variant for variant in drawn(table) if variant.method == method), None)
    if decoding is None or variant is None or table.seeds < 2:
        return None
    cell = table.find(variant, decoding, f"{table.metric}_minus_{other}")
    return cell if cell and cell.error is not None else None


def pooled_sentences(lines: Iterable[Estimate]) -> list[str]:
    """'SM vs. BC over 4 tasks: sampled **-1.2** (95% interval -2.0 to -0.4, p = 0.009); ...', a sentence a pair."""
    pairs: dict[tuple[str, str, int], list[str]] = {}
    for line in lines:
        if line.against:
            key = (line.variant.label, line.against.variant.label, line.n)
            said = f"{line.decoding} {signed_bold(line)} ({INTERVAL} {span(line)}, {p_value(line.p_adjusted)})"
            pairs.setdefault(key, []).append(said)
    return [f"{one} vs. {other} over {n} tasks, points: {'; '.join(said)}." for (one, other, n), said in pairs.items()]
