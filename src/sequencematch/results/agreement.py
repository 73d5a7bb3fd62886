"""Whether another run agrees with the kept one: estimates against prediction intervals, and verdicts."""

import math
from collections.abc import Iterator
from pathlib import Path

from sequencematch.results import intervals, words
from sequencematch.results.estimates import Estimate, Table, read_table
from sequencematch.store.files import read_json


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
    from scipy.special import stdtrit

    pairs = [(cell, before) for cell in own.cells if (before := kept.find(cell.variant, cell.decoding, cell.name))]
    factor = float(stdtrit(kept.seeds - 1, (1 + intervals.COVERAGE) / 2)) * math.sqrt(1 / kept.seeds + 1 / own.seeds)
    spread = [(cell, before, factor * before.sd) for cell, before in pairs if before.sd]
    outside = [(cell, before, reach) for cell, before, reach in spread if abs(cell.mean - before.mean) > reach]
    yield (
        f"{own.name}: {len(spread) - len(outside)} of {len(spread)} estimates lie in the 95% prediction interval of "
        f"the kept run ({kept.seeds} seeds there, {own.seeds} here); chance alone leaves one in twenty outside."
    )
    for cell, before, reach in outside:
        digits = words.describe(cell.quantity).digits
        between = f"{words.number(before.mean - reach, digits)} to {words.number(before.mean + reach, digits)}"
        yield f"  outside: {_place(cell)}: {words.plain(cell)}, kept {words.plain(before)} (predicted {between})"
    # Tables of before 2026-12 have no p-values, so nothing there is significant in the present sense.
    judged = [(cell, before) for cell, before in pairs if cell.p is not None and before.p is not None]
    changed = [(cell, before) for cell, before in judged if words.verdict(cell) != words.verdict(before)]
    yield f"  {len(changed)} of {len(judged)} verdicts changed."
    for cell, before in changed:
        was, now = (f"{words.verdict(one)} ({words.signed(one)})" for one in (before, cell))
        yield f"  changed: {_place(cell)}: kept {was}, here {now}"


def _place(cell: Estimate) -> str:
    what = f"{words.pair(cell)}, η = {cell.variant.eta:g}" if cell.against else cell.variant.name
    decoding = words.decoding_label(cell.decoding) if cell.decoding else ""
    return words.without_marks(", ".join(filter(None, (what, decoding, words.heading(cell.quantity)))))


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
