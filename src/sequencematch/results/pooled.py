"""One line for each pair of methods over all tasks: the mean of their paired differences in points."""

from collections.abc import Iterable
from dataclasses import replace

from sequencematch.results.estimates import Estimate, Place, Table
from sequencematch.results.forest import COLUMNS, decoding_of, drawn
from sequencematch.results.intervals import adjusted, pooled
from sequencematch.results.words import INTERVAL, p_value, signed_bold, span

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
