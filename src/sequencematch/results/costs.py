"""What steps and sampling cost: medians, quartiles, ratios in the same repeat, token floors, and the speed targets.

Of steps (tables 3 and 4): the parts ``network``, ``scores``, ``objective``, ``optimiser`` of the ``step``,
``generation`` and ``amortised`` in seconds; ``step_ratio`` and ``amortised_ratio``, to the MLE step of the same repeat;
``objective_share`` of the step; ``tokens`` and ``token_floor``, tokens over MLE's; ``padding_share``; ``peak_memory``
in bytes; ``steps_per_sample``. The benchmarks of parts compare every quantity with the row of a baseline.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sequencematch.results.estimates import Estimate, Place
from sequencematch.results.measured import Measured
from sequencematch.results.pages import Page
from sequencematch.results.paper import Reported, find
from sequencematch.results.words import Grid, quartiles

LABELS = {
    "mle": "MLE",
    "bc_paper": "BC, as in the paper",
    "bc": "BC, ours",
    "sm_paper": "SM, as in the paper",
    "sm_tree": "SM, with the state tree",
    "sm": "SM, ours",
    "sm_shared": "SM, ours, shared prompts",
    "algorithm_2": "Algorithm 2",
    "state_tree": "state tree",
    "generate": "`generate` of transformers",
    "ours": "our sampler",
    "all_logits": "all logits at once",
    "training": "as in training",
    "between": "SM, rollouts between steps",
    "beside": "SM, concurrent rollouts",
}
OURS = ("bc", "sm", "sm_shared")
BASELINE = "mle"
# The row without rollouts that trains on the same data as an SM row, encoded in the same way.
DATA_OF = {"sm_paper": "bc_paper", "sm_tree": "bc", "sm": "bc", "sm_shared": "bc"}
PARTS = ("network", "scores", "objective", "optimiser")
PAPER_METRICS = {
    "step": "gradient_step_seconds",
    "generation": "sampling_seconds",
    "steps_per_sample": "gradient_steps_per_sample",
    "amortised": "amortised_total_seconds",
}

# ---- steps ------------------------------------------------------------------------------------------


def measure_steps(measured: Measured, numbers: Sequence[Reported], task: str) -> list[Estimate]:
    """All costs; ``numbers`` of ``task`` belong to the first case, whose lengths are the paper's."""
    steps_per_sample = measured.facts["steps_per_sample"]
    costs = []
    for case in measured.cases:
        baseline = measured.series(case, BASELINE, "step")
        floor = measured.series(case, BASELINE, "tokens")[0]
        for row in measured.rows(case):
            step = measured.series(case, row, "step")
            generation = measured.series(case, row, "generation")
            amortised = step + (np.median(generation) / steps_per_sample if len(generation) else 0)
            tokens, positions = measured.series(case, row, "tokens")[0], measured.series(case, row, "positions")[0]
            series = {part: measured.series(case, row, part) for part in PARTS}
            series |= {"step": step, "step_ratio": step / baseline, "objective_share": series["objective"] / step}
            if len(generation):
                series |= {"generation": generation}
            series |= {"amortised": amortised, "amortised_ratio": amortised / baseline}
            counted = {
                "tokens": tokens,
                "token_floor": tokens / floor,
                "padding_share": 1 - tokens / positions,
                "peak_memory": measured.series(case, row, "peak_memory")[0],
            }
            counted |= {"steps_per_sample": steps_per_sample} if len(generation) else {}
            papers = _of_paper(numbers, task, row) if case == measured.cases[0] else {}
            where = Place(case, row)
            costs += [_quartiles(values, where, name, papers.get(name)) for name, values in series.items()]
            costs += [
                Estimate(float(value), where=where, quantity=name, paper=papers.get(name))
                for name, value in counted.items()
            ]
    return costs


def _quartiles(values: np.ndarray, where: Place, quantity: str, paper: Reported | None = None) -> Estimate:
    low, median, high = (float(x) for x in np.quantile(values, (0.25, 0.5, 0.75)))
    return Estimate(median, low=low, high=high, where=where, quantity=quantity, paper=paper)


def _of_paper(numbers: Sequence[Reported], task: str, row: str) -> dict[str, Reported]:
    """What the paper reports for a row's method; its ratios are to the gradient step of its MLE."""
    method = row.partition("_")[0]
    found = {name: find(numbers, task, method, 0, metric) for name, metric in PAPER_METRICS.items()}
    papers = {name: number for name, number in found.items() if number is not None}
    mle = find(numbers, task, BASELINE, 0, PAPER_METRICS["step"])
    if mle is not None and method != BASELINE:
        for ratio, name in {"step_ratio": "step", "amortised_ratio": "amortised"}.items():
            if name in papers:
                papers[ratio] = replace(papers[name], value=papers[name].value / mle.value)
    return papers


def ordered(rows: Sequence[str]) -> list[str]:
    """Rows from the naive way to ours."""
    return sorted(rows, key=list(LABELS).index)


def medians(costs: Sequence[Estimate], case: str) -> dict[tuple[str, str], float]:
    """The medians of a case by row and quantity."""
    return {(cost.where.method, cost.quantity): cost.mean for cost in costs if cost.where.task == case}


def parts_of(costs: Sequence[Estimate], case: str, row: str) -> dict[str, float]:
    """Median seconds of an amortised step by part: data, rollouts, objective, optimiser, sampling.

    ``data`` is what data alone cost, ``rollouts`` what rollouts add. The parts add up to the row's step, apart from
    noise between repeats.
    """
    of = medians(costs, case)
    encoded = {name: of[name, "network"] + of[name, "scores"] for name in (row, DATA_OF.get(row, row))}
    data = encoded[DATA_OF.get(row, row)]
    return {
        "data": data,
        "rollouts": encoded[row] - data,
        "objective": of[row, "objective"],
        "optimiser": of[row, "optimiser"],
        "sampling": of[row, "amortised"] - of[row, "step"],
    }


# ---- benchmarks of parts ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Benchmark:
    """The row that others are compared with, and the quantities shown: name, heading, factor, decimals."""

    title: str
    baseline: str
    shown: Sequence[tuple[str, str, float, int]]


BENCHMARKS = {
    "growth": Benchmark("A gradient step over lengths and batches", "mle", [("step", "Milliseconds", 1e3, 1)]),
    "masking": Benchmark(
        "A step of BC by state tree and by Algorithm 2",
        "algorithm_2",
        [("step", "Milliseconds", 1e3, 1), ("mask_bytes", "Memory of the masks, kB", 1e-3, 1)],
    ),
    "projection": Benchmark(
        "From hidden states to l(a|s) and V(s), in a step of BC",
        "all_logits",
        [("scores", "Milliseconds of the projection and its backward pass", 1e3, 1), ("step", "Of the step", 1e3, 1)],
    ),
    "sampling": Benchmark(
        "Sampling, without gradient steps",
        "generate",
        [("tokens_per_second", "Tokens per second", 1, 0), ("tokens", "Tokens", 1, 0)],
    ),
    "concurrent": Benchmark(
        "Rollouts between steps and concurrent with training, a core for each process",
        "mle",
        [("step", "Milliseconds of a step, sampling included", 1e3, 1), ("waiting", "Share of waiting", 1, 3)],
    ),
}


def measure_parts(measured: Measured, baseline: str) -> list[Estimate]:
    """Median and quartiles of every quantity, with its ratio to ``baseline``."""
    costs = []
    for case in measured.cases:
        for row in filter(None, measured.rows(case)):  # a quantity of the case itself has no row
            for quantity in dict.fromkeys(v.quantity for v in measured.values if (v.case, v.row) == (case, row)):
                values, compared = (measured.series(case, name, quantity) for name in (row, baseline))
                ratio = float(np.median(values / compared)) if len(values) == len(compared) and compared.all() else None
                costs.append(replace(_quartiles(values, Place(case, row), quantity), ratio=ratio))
    return costs


# ---- speed targets ----------------------------------------------------------------------------------

# What a step and an amortised step of our row may cost, in token floors; and what the objective may take of a step.
STEP_BUDGET, AMORTISED_BUDGET, OBJECTIVE_BUDGET = 1.15, 1.35, 0.10
WITH_BUDGETS = ("sm", "sm_shared")
# The state tree's time over that of Algorithm 2, from this length on and below it; our tokens per second over those of
# generate where rows end together, and where not.
LONG, TREE_BUDGET, SHORT_TREE_BUDGET = 256, 0.85, 1.0
SAMPLING_BUDGET = 1.0
# Rollouts cost a step nothing if it waits less than this share of its time for them.
WAITING_BUDGET = 0.02


def step_verdicts(costs: Sequence[Estimate], case: str) -> list[str]:
    """Whether our rows keep their budgets in a case: the step, the amortised step, and the objective's share."""
    of, found = medians(costs, case), []
    for row in WITH_BUDGETS:
        floor, label = of[row, "token_floor"], LABELS[row]
        for what, quantity, factor in (
            ("gradient step", "step_ratio", STEP_BUDGET),
            ("amortised with sampling", "amortised_ratio", AMORTISED_BUDGET),
        ):
            ratio, limit = of[row, quantity], factor * floor
            found.append(
                f"{label}, {what}: {ratio:.2f} times the MLE step; at most {limit:.2f} "
                f"({factor:.2f} x the token floor of {floor:.2f}): {_verdict(ratio <= limit)}"
            )
        share = of[row, "objective_share"]
        found.append(
            f"{label}, objective: {share:.1%} of the step; at most {OBJECTIVE_BUDGET:.0%}: "
            f"{_verdict(share <= OBJECTIVE_BUDGET)}"
        )
    return found


def masking_verdicts(costs: Sequence[Estimate]) -> list[str]:
    """The state tree's time over Algorithm 2's at each length, with the limit."""
    found = []
    for cost in _of(costs, "state_tree", "step"):
        if cost.ratio is not None:
            length, limit = cost.where.task, TREE_BUDGET if int(cost.where.task) >= LONG else SHORT_TREE_BUDGET
            verdict = _verdict(cost.ratio <= limit)
            found.append(f"{length} tokens: {cost.ratio:.2f} times Algorithm 2's; at most {limit:g}: {verdict}")
    return found


def sampling_verdicts(costs: Sequence[Estimate]) -> list[str]:
    """Our tokens per second over those of ``generate``, with the limits.

    With pops: whether every push was fed once and no pop was fed.
    """
    found = [
        f"{cost.where.task}: {cost.ratio:.2f} times `generate`'s; at least {SAMPLING_BUDGET:g}: "
        f"{_verdict(cost.ratio >= SAMPLING_BUDGET)}"
        for cost in _of(costs, "ours", "tokens_per_second")
        if cost.ratio is not None
    ]
    counted = {cost.quantity: cost.mean for cost in costs if "pops" in cost.where.task}
    if counted:
        found.append(
            f"With {counted['pops']:.0f} pops: {counted['tokens']:.0f} pushes, {counted['last_pushes']:.0f} of them "
            f"the last of a rollout, and {counted['tokens_fed']:.0f} tokens fed: none for a pop."
        )
    return found


def waiting_verdicts(costs: Sequence[Estimate]) -> list[str]:
    """The share of a step that is spent waiting for rollouts of another process."""
    return [
        f"Concurrent with training: {cost.mean:.1%} of a step is spent waiting for rollouts; at most "
        f"{WAITING_BUDGET:.0%}: {_verdict(cost.mean <= WAITING_BUDGET)}"
        for cost in _of(costs, "beside", "waiting")
    ]


VERDICTS: dict[str, Callable[[Sequence[Estimate]], list[str]]] = {
    "masking": masking_verdicts,
    "sampling": sampling_verdicts,
    "concurrent": waiting_verdicts,
}


def _of(costs: Sequence[Estimate], row: str, quantity: str) -> list[Estimate]:
    return [cost for cost in costs if (cost.where.method, cost.quantity) == (row, quantity)]


def _verdict(met: bool) -> str:
    return "*met*." if met else "*not met*."


# ---- pages ------------------------------------------------------------------------------------------

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
