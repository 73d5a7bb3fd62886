"""The pages of costs."""

from collections.abc import Sequence

from sequencematch.results.costs import (
    BENCHMARKS,
    LABELS,
    VERDICTS,
    ordered,
    parts_of,
    step_verdicts,
)
from sequencematch.results.estimates import Estimate
from sequencematch.results.measured import Measured
from sequencematch.results.pages import Page
from sequencematch.results.words import Grid, quartiles

# Heading of each column, and the quantity, factor and decimals of its numbers.
COLUMNS = {
    "step, ms": ("step", 1e3, 1),
    "to MLE": ("step_ratio", 1, 2),
    "generation, s": ("generation", 1, 2),
    "steps per generation": ("steps_per_sample", 1, 0),
    "amortised, ms": ("amortised", 1e3, 1),
    "amortised to MLE": ("amortised_ratio", 1, 2),
    "token floor": ("token_floor", 1, 2),
    "tokens": ("tokens", 1, 0),
    "padding": ("padding_share", 1, 3),
    "peak memory, MB": ("peak_memory", 1e-6, 1),
}
OF_PAPER = {"step_ratio": "paper, to MLE", "amortised_ratio": "paper, amortised to MLE"}
PART_LABELS = {
    "data": "data, forward and backward",
    "rollouts": "what rollouts add",
    "objective": "objective",
    "optimiser": "clipping and optimiser",
    "sampling": "sampling, amortised",
}


def steps_page(title: str, costs: Sequence[Estimate], measured: Measured) -> Page:
    """For each case the table, where the time goes, and whether the budgets are met."""
    settings = measured.facts["settings"]
    cases = []
    for case in measured.cases:
        rows = ordered(measured.rows(case))
        tables = {"costs": _costs(costs, case, rows), "parts": _parts(costs, case, rows)}
        cases.append({"name": case, "verdicts": step_verdicts(costs, case), **tables})
    facts = {"repeats": settings["repeats"], "eta": f"{settings['eta']:g}", "every": f"{1 / settings['pops']:.0f}"}
    return Page("steps.md.j2", title, {"caption": measured.caption, "cases": cases, **facts})


def _costs(costs: Sequence[Estimate], case: str, rows: Sequence[str]) -> Grid:
    found = {(cost.where.method, cost.quantity): cost for cost in costs if cost.where.task == case}
    papers = OF_PAPER if any(found[row, name].paper for row in rows for name in OF_PAPER) else {}
    lines = [
        [
            LABELS[row],
            *(quartiles(found.get((row, name)), scale, digits) for name, scale, digits in COLUMNS.values()),
            *(of_paper(found[row, name]) for name in papers),
        ]
        for row in rows
    ]
    return Grid(["row", *COLUMNS, *papers.values()], lines)


def of_paper(cost: Estimate) -> str:
    """The paper's number, '-' where it has none."""
    return f"{cost.paper.value:.2f}" if cost.paper else "-"


def _parts(costs: Sequence[Estimate], case: str, rows: Sequence[str]) -> Grid:
    amortised = {c.where.method: c.mean for c in costs if (c.where.task, c.quantity) == (case, "amortised")}
    lines = []
    for row in rows:
        parts = parts_of(costs, case, row)
        rest = amortised[row] - sum(parts.values())
        lines.append([LABELS[row], *(f"{1e3 * seconds:.1f}" for seconds in (*parts.values(), rest))])
    return Grid(["row, milliseconds", *PART_LABELS.values(), "not accounted for"], lines)


def parts_page(costs: Sequence[Estimate], benchmark: str, caption: str) -> Page:
    """A grid of each quantity shown, and whether the speed targets are met."""
    how = BENCHMARKS[benchmark]
    grids = {}
    for quantity, heading, scale, digits in how.shown:
        chosen = {(c.where.task, c.where.method): c for c in costs if c.quantity == quantity}
        cases, rows = (list(dict.fromkeys(names)) for names in zip(*chosen, strict=True))
        lines = [
            [case, *(_number(chosen.get((case, row)), row == how.baseline, scale, digits) for row in rows)]
            for case in cases
        ]
        grids[heading] = Grid(["case", *(LABELS[row] for row in rows)], lines)
    verdicts = VERDICTS[benchmark](costs) if benchmark in VERDICTS else []
    return Page("parts.md.j2", how.title, {"caption": caption, "grids": grids, "verdicts": verdicts})


def _number(cost: Estimate | None, baseline: bool, scale: float, digits: int) -> str:
    """Median [quartiles], followed by the ratio to the baseline in all other rows."""
    text = quartiles(cost, scale, digits)
    return text if cost is None or baseline or cost.ratio is None else f"{text}, {cost.ratio:.2f} x"
