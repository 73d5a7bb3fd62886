"""Tables of the benchmarks of parts: every row with its ratio to the baseline, and the speed targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sequencematch.results.cost_cells import LABELS, Cost, median_with_quartiles
from sequencematch.results.document import Block, Bullets, Grid, Heading, Paragraph
from sequencematch.results.measured import Measured

# The state tree's time over that of Algorithm 2, from this length on and below it; our tokens per second over those of
# generate where rows end together, and where not.
LONG, TREE_BUDGET, SHORT_TREE_BUDGET = 256, 0.85, 1.0
SAMPLING_BUDGET = 1.0
# Rollouts cost a step nothing if it waits less than this share of its time for them.
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
        "Rollouts between steps and concurrent with training, a core for each process",
        "mle",
        [("step", "Milliseconds of a step, sampling included", 1e3, 1), ("waiting", "Share of waiting", 1, 3)],
    ),
}


def compare(measured: Measured, baseline: str) -> list[Cost]:
    """Median and quartiles of every quantity, with its ratio to ``baseline``."""
    cells = []
    for case in measured.cases:
        for row in filter(None, measured.rows(case)):  # a quantity of the case itself has no row
            for quantity in dict.fromkeys(v.quantity for v in measured.values if (v.case, v.row) == (case, row)):
                values, compared = (measured.series(case, name, quantity) for name in (row, baseline))
                low, median, high = (float(x) for x in np.quantile(values, (0.25, 0.5, 0.75)))
                ratio = float(np.median(values / compared)) if len(values) == len(compared) and compared.all() else None
                cells.append(Cost(case, row, quantity, median, low, high, ratio))
    return cells


def parts_page(cells: Sequence[Cost], benchmark: str, caption: str) -> list[Block]:
    """Caption, a grid of each quantity shown, and whether the speed targets are met."""
    how = BENCHMARKS[benchmark]
    blocks: list[Block] = [Paragraph(caption)]
    for quantity, heading, scale, digits in how.shown:
        chosen = [c for c in cells if c.quantity == quantity]
        rows = list(dict.fromkeys(c.row for c in chosen))
        found = {(c.case, c.row): c for c in chosen}
        lines: list[Sequence[str]] = [
            [case, *(_number(found.get((case, row)), row == how.baseline, scale, digits) for row in rows)]
            for case in dict.fromkeys(c.case for c in chosen)
        ]
        blocks += [Heading(heading), Grid(["case", *(LABELS[row] for row in rows)], lines)]
    hopes = VERDICTS[benchmark](cells) if benchmark in VERDICTS else []
    if hopes:
        blocks += [Heading("Budgets"), Bullets(hopes)]
    return blocks


def _number(cost: Cost | None, baseline: bool, scale: float, digits: int) -> str:
    """Median [quartiles], followed by the ratio to the baseline in all other rows."""
    text = median_with_quartiles(cost, scale, digits)
    return text if cost is None or baseline or cost.ratio is None else f"{text}, {cost.ratio:.2f} x"


def masking_verdicts(cells: Sequence[Cost]) -> list[str]:
    """The state tree's time over Algorithm 2's at each length, with the limit."""
    sentences = []
    for cell in cells:
        if (cell.row, cell.quantity) == ("state_tree", "step") and cell.ratio is not None:
            limit = TREE_BUDGET if int(cell.case) >= LONG else SHORT_TREE_BUDGET
            verdict = "met" if cell.ratio <= limit else "not met"
            sentences.append(
                f"{cell.case} tokens: {cell.ratio:.2f} times Algorithm 2's; at most {limit:g}: *{verdict}*."
            )
    return sentences


def sampling_verdicts(cells: Sequence[Cost]) -> list[str]:
    """Our tokens per second over those of ``generate``, with the limits.

    With pops: whether every push was fed once and no pop was fed.
    """
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


def waiting_verdicts(cells: Sequence[Cost]) -> list[str]:
    """The share of a step that is spent waiting for rollouts of another process."""
    shares = [c.median for c in cells if (c.row, c.quantity) == ("beside", "waiting")]
    verdicts = ["met" if share <= WAITING_BUDGET else "not met" for share in shares]
    return [
        f"Concurrent with training: {share:.1%} of a step is spent waiting for rollouts; at most {WAITING_BUDGET:.0%}: "
        f"*{verdict}*."
        for share, verdict in zip(shares, verdicts, strict=True)
    ]


VERDICTS = {"masking": masking_verdicts, "sampling": sampling_verdicts, "concurrent": waiting_verdicts}
