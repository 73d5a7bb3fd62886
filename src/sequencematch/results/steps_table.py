"""Tables 3 and 4, measured: medians, quartiles, ratios to MLE in the same run, token floors and budgets.

Quantities: the parts ``network``, ``scores``, ``objective``, ``optimiser`` of the ``step``, ``generation`` and
``amortised`` in seconds; ``step_ratio`` and ``amortised_ratio``, to the MLE step of the same repeat;
``objective_share`` of the step; ``tokens`` and ``token_floor``, tokens over MLE's; ``padding_share``; ``peak_memory``
in bytes; ``steps_per_sample``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sequencematch.results.cost_cells import LABELS, Cost, median_with_quartiles
from sequencematch.results.document import Block, Bullets, Grid, Heading, Paragraph
from sequencematch.results.measured import Measured
from sequencematch.results.paper import Reported, find

BASELINE = "mle"
WITH_BUDGETS = ("sm", "sm_shared")
# The row without rollouts that trains on the same data as an SM row, encoded in the same way.
DATA_OF = {"sm_paper": "bc_paper", "sm_tree": "bc", "sm": "bc", "sm_shared": "bc"}
PARTS = ("network", "scores", "objective", "optimiser")
# What a step and an amortised step of our row may cost, in token floors; and what the objective may take of a step.
STEP_BUDGET, AMORTISED_BUDGET, OBJECTIVE_BUDGET = 1.15, 1.35, 0.10
PAPER_METRICS = {
    "step": "gradient_step_seconds",
    "generation": "sampling_seconds",
    "steps_per_sample": "gradient_steps_per_sample",
    "amortised": "amortised_total_seconds",
}


def summarise(measured: Measured, numbers: Sequence[Reported], task: str) -> list[Cost]:
    """All cells; ``numbers`` of ``task`` belong to the first case, whose lengths are the paper's."""
    steps_per_sample = measured.facts["steps_per_sample"]
    cells = []
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
            papers = _paper(numbers, task, row) if case == measured.cases[0] else {}
            for quantity, values in series.items():
                low, median, high = (float(x) for x in np.quantile(values, (0.25, 0.5, 0.75)))
                cells.append(Cost(case, row, quantity, median, low, high, paper=papers.get(quantity)))
            cells += [Cost(case, row, name, float(x), paper=papers.get(name)) for name, x in counted.items()]
    return cells


def _paper(numbers: Sequence[Reported], task: str, row: str) -> dict[str, float]:
    """What the paper reports for a row's method; its ratios are to the gradient step of its MLE."""
    method = row.partition("_")[0]
    found = {name: find(numbers, task, method, 0, metric) for name, metric in PAPER_METRICS.items()}
    papers = {name: number.value for name, number in found.items() if number is not None}
    mle = find(numbers, task, BASELINE, 0, PAPER_METRICS["step"])
    if mle is not None and method != BASELINE:
        ratios = {"step_ratio": "step", "amortised_ratio": "amortised"}
        papers |= {ratio: papers[name] / mle.value for ratio, name in ratios.items() if name in papers}
    return papers


@dataclass(frozen=True)
class Budget:
    """A limit on a quantity of our row, and what was measured."""

    what: str
    measured: float
    limit: float
    floor: float | None = None

    @property
    def met(self) -> bool:
        """Whether the measured share is within the limit."""
        return self.measured <= self.limit

    def sentence(self) -> str:
        """The budget and the verdict, as a line of the page."""
        verdict = "met" if self.met else "not met"
        if self.floor is None:
            return f"{self.what}: {self.measured:.1%} of the step; at most {self.limit:.0%}: *{verdict}*."
        factor = self.limit / self.floor
        return (
            f"{self.what}: {self.measured:.2f} times the MLE step; at most {self.limit:.2f} "
            f"({factor:.2f} x the token floor of {self.floor:.2f}): *{verdict}*."
        )


def budgets(cells: Sequence[Cost], case: str, row: str) -> list[Budget]:
    """The budgets of a row in one case."""
    of = {cell.quantity: cell.median for cell in cells if (cell.case, cell.row) == (case, row)}
    floor, name = of["token_floor"], LABELS[row]
    return [
        Budget(f"{name}, gradient step", of["step_ratio"], STEP_BUDGET * floor, floor),
        Budget(f"{name}, amortised with sampling", of["amortised_ratio"], AMORTISED_BUDGET * floor, floor),
        Budget(f"{name}, objective", of["objective_share"], OBJECTIVE_BUDGET),
    ]


# --------------------------------------------------------------------------------------------------
# The page
# --------------------------------------------------------------------------------------------------

NOTES = (
    "Medians [quartiles] of {repeats} repeats, the rows in turn; ratios to the MLE step of the same repeat. *Token "
    "floor*: tokens that the step encodes over those that MLE encodes for the same data. *Amortised*: the step, and a "
    "generation's time over the gradient steps that it serves. *As in the paper*: Algorithm 2's copies and dense "
    "masks, data and rollouts in batches of their own, all logits at once, and rollouts drawn with a cache that cannot "
    "rewind. *Ours*: the state tree, and a cache that rewinds; with *shared prompts*, data and rollouts of the "
    "same prompt are one tree. Tokens are random, data noised at η = {eta:g}, and one action in {every:.0f} of "
    "a rollout is a `<bkspc>`."
)


def steps_page(cells: Sequence[Cost], measured: Measured) -> list[Block]:
    """Caption; for each case the table, where the time goes, and whether the budgets are met."""
    settings = measured.facts["settings"]
    notes = NOTES.format(repeats=settings["repeats"], eta=settings["eta"], every=1 / settings["pops"])
    blocks: list[Block] = [Paragraph(measured.caption), Paragraph(notes)]
    for case in measured.cases:
        blocks += [
            Heading(f"Prompt and continuation: {case}"),
            _costs(cells, case, ordered(measured.rows(case))),
            Heading("Where the time goes", level=3),
            _parts(cells, case, ordered(measured.rows(case))),
            Heading("Budgets", level=3),
            Bullets([budget.sentence() for row in WITH_BUDGETS for budget in budgets(cells, case, row)]),
        ]
    return blocks


def ordered(rows: Sequence[str]) -> list[str]:
    """Rows from the naive way to ours."""
    return sorted(rows, key=list(LABELS).index)


def _costs(cells: Sequence[Cost], case: str, rows: Sequence[str]) -> Grid:
    columns = {
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
    found = {(cell.row, cell.quantity): cell for cell in cells if cell.case == case}
    papers = {"step_ratio": "paper, to MLE", "amortised_ratio": "paper, amortised to MLE"}
    papers = papers if any(found[row, name].paper for row in rows for name in papers) else {}
    lines = [
        [
            LABELS[row],
            *(
                median_with_quartiles(found.get((row, quantity)), scale, digits)
                for quantity, scale, digits in columns.values()
            ),
            *(f"{paper:.2f}" if (paper := found[row, name].paper) else "-" for name in papers),
        ]
        for row in rows
    ]
    return Grid(["row", *columns, *papers.values()], lines)


def parts_of(cells: Sequence[Cost], case: str, row: str) -> dict[str, float]:
    """Median seconds of an amortised step by part: data, rollouts, objective, optimiser, sampling.

    ``data`` is what data alone cost, ``rollouts`` what rollouts add. The parts add up to the row's step, apart from
    noise between repeats.
    """
    of = {(cell.row, cell.quantity): cell.median for cell in cells if cell.case == case}
    encoded = {name: of[name, "network"] + of[name, "scores"] for name in (row, DATA_OF.get(row, row))}
    data = encoded[DATA_OF.get(row, row)]
    return {
        "data": data,
        "rollouts": encoded[row] - data,
        "objective": of[row, "objective"],
        "optimiser": of[row, "optimiser"],
        "sampling": of[row, "amortised"] - of[row, "step"],
    }


PART_LABELS = {
    "data": "data, forward and backward",
    "rollouts": "what rollouts add",
    "objective": "objective",
    "optimiser": "clipping and optimiser",
    "sampling": "sampling, amortised",
}


def _parts(cells: Sequence[Cost], case: str, rows: Sequence[str]) -> Grid:
    amortised = {cell.row: cell.median for cell in cells if (cell.case, cell.quantity) == (case, "amortised")}
    lines = []
    for row in rows:
        parts = parts_of(cells, case, row)
        rest = amortised[row] - sum(parts.values())
        lines.append([LABELS[row], *(f"{1e3 * seconds:.1f}" for seconds in (*parts.values(), rest))])
    header = ["row, milliseconds", *PART_LABELS.values(), "not accounted for"]
    return Grid(header, lines)
