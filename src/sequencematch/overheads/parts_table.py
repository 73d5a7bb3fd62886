"""Benchmarks of parts, as tables: every row beside the one it is compared with, and what was hoped for.

CSV: one line per (case, row, quantity) with median, quartiles, and the ``ratio`` to the compared row of the same repeat
(median of the repeats' ratios; empty where that row has no such quantity).
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sequencematch.overheads.measured import Measured
from sequencematch.overheads.steps_table import LABELS as STEP_LABELS
from sequencematch.tables.document import Block, Bullets, Grid, Heading, Paragraph

LABELS = STEP_LABELS | {
    "algorithm_2": "Algorithm 2",
    "state_tree": "state tree",
    "generate": "`generate` of transformers",
    "ours": "our sampler",
    "ours_static": "our sampler, CUDA graphs",
    "all_logits": "all logits at once",
    "training": "as in training",
    "between": "SM, rollouts between steps",
    "beside": "SM, rollouts beside training",
}
# The state tree's time over that of Algorithm 2, from this length on and below it; our tokens per second over those of
# generate where rows end together, and where not.
LONG, TREE_BUDGET, SHORT_TREE_BUDGET = 256, 0.85, 1.0
SAMPLING_BUDGET = 1.0
# Rollouts have disappeared from the cost of a step where it waits less than this share of its time for them.
WAITING_BUDGET = 0.02


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
        "Rollouts between steps and beside training, a core for each process",
        "mle",
        [("step", "Milliseconds of a step, sampling included", 1e3, 1), ("waiting", "Share of waiting", 1, 3)],
    ),
}


@dataclass(frozen=True)
class Cell:
    case: str
    row: str
    quantity: str
    median: float
    low: float
    high: float
    ratio: float | None


def compare(measured: Measured, baseline: str) -> list[Cell]:
    """Median and quartiles of everything, beside ``baseline``."""
    cells = []
    for case in measured.cases:
        for row in filter(None, measured.rows(case)):  # what is of the case itself is of no row
            for quantity in dict.fromkeys(v.quantity for v in measured.values if (v.case, v.row) == (case, row)):
                values, compared = (measured.series(case, name, quantity) for name in (row, baseline))
                low, median, high = (float(x) for x in np.quantile(values, (0.25, 0.5, 0.75)))
                ratio = float(np.median(values / compared)) if len(values) == len(compared) and compared.all() else None
                cells.append(Cell(case, row, quantity, median, low, high, ratio))
    return cells


def to_csv(cells: Sequence[Cell]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "row", "quantity", "median", "low", "high", "ratio"])
    for c in cells:
        numbers = ("" if x is None else f"{x:.6g}" for x in (c.median, c.low, c.high, c.ratio))
        writer.writerow([c.case, c.row, c.quantity, *numbers])
    return text.getvalue()


def page(cells: Sequence[Cell], benchmark: str, caption: str) -> list[Block]:
    """Caption, a grid of each quantity shown, and what was hoped for."""
    how = BENCHMARKS[benchmark]
    blocks: list[Block] = [Paragraph(caption)]
    for quantity, heading, scale, digits in how.shown:
        chosen = [c for c in cells if c.quantity == quantity]
        rows = list(dict.fromkeys(c.row for c in chosen))
        found = {(c.case, c.row): c for c in chosen}
        lines = [
            [case, *(_number(found.get((case, row)), row == how.baseline, scale, digits) for row in rows)]
            for case in dict.fromkeys(c.case for c in chosen)
        ]
        blocks += [Heading(heading), Grid(heading, ["", *(LABELS[row] for row in rows)], lines)]
    hopes = VERDICTS.get(benchmark, lambda cells: [])(cells)
    return [*blocks, *([Heading("Budgets"), Bullets(hopes)] if hopes else [])]


def _number(cell: Cell | None, plain: bool, scale: float, digits: int) -> str:
    """Median [quartiles], and the ratio to the compared row."""
    if cell is None:
        return "-"
    text = f"{cell.median * scale:,.{digits}f}"
    if cell.low != cell.high:
        text += f" [{cell.low * scale:,.{digits}f}, {cell.high * scale:,.{digits}f}]"
    return text if plain or cell.ratio is None else f"{text}, {cell.ratio:.2f} x"


def masking_verdicts(cells: Sequence[Cell]) -> list[str]:
    """The state tree's time at each length against what it may take of Algorithm 2's."""
    sentences = []
    for cell in cells:
        if (cell.row, cell.quantity) == ("state_tree", "step") and cell.ratio is not None:
            limit = TREE_BUDGET if int(cell.case) >= LONG else SHORT_TREE_BUDGET
            verdict = "met" if cell.ratio <= limit else "not met"
            sentences.append(
                f"{cell.case} tokens: {cell.ratio:.2f} times Algorithm 2's; at most {limit:g}: *{verdict}*."
            )
    return sentences


def sampling_verdicts(cells: Sequence[Cell]) -> list[str]:
    """Our tokens per second against those of ``generate``; and, with pops, that every push was fed once and no pop."""
    sentences = []
    for cell in cells:
        if (cell.row, cell.quantity) == ("ours", "tokens_per_second") and cell.ratio is not None:
            verdict = "met" if cell.ratio >= SAMPLING_BUDGET else "not met"
            hope = f"at least {SAMPLING_BUDGET:g}"
            sentences.append(f"{cell.case}: {cell.ratio:.2f} times `generate`'s; {hope}: *{verdict}*.")
    counted = {cell.quantity: cell.median for cell in cells if "pops" in cell.case}
    if counted:
        sentences.append(
            f"With {counted['pops']:.0f} pops: {counted['tokens']:.0f} pushes, {counted['last_pushes']:.0f} of them "
            f"the last of a rollout, and {counted['tokens_fed']:.0f} tokens fed: none for a pop."
        )
    return sentences


def waiting_verdicts(cells: Sequence[Cell]) -> list[str]:
    """How much of a step is spent waiting for rollouts that another process draws."""
    shares = [c.median for c in cells if (c.row, c.quantity) == ("beside", "waiting")]
    verdicts = ["met" if share <= WAITING_BUDGET else "not met" for share in shares]
    return [
        f"Beside training: {share:.1%} of a step is waiting for rollouts; at most {WAITING_BUDGET:.0%}: *{verdict}*."
        for share, verdict in zip(shares, verdicts, strict=True)
    ]


VERDICTS = {"masking": masking_verdicts, "sampling": sampling_verdicts, "concurrent": waiting_verdicts}
