"""One quantity of a cost table, its tidy CSV, and the names of the rows.

CSV: one line per (case, row, quantity) with median and quartiles over repeats (``low``, ``high``; empty for what was
counted once), the ``ratio`` to the compared row of the same repeat, and the paper's number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sequencematch.results.cells import csv_text

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


@dataclass(frozen=True)
class Cost:
    """A quantity of a row: median and quartiles over repeats, median ratio to the compared row, paper's number."""

    case: str
    row: str
    quantity: str
    median: float
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    paper: float | None = None


def costs_csv(costs: Sequence[Cost], table: str) -> str:
    """The tidy CSV; ``table`` is its name."""
    return csv_text(
        {
            "table": table,
            **{name: getattr(cost, name) for name in ("case", "row", "quantity")},
            **{name: _written(getattr(cost, name)) for name in ("median", "low", "high", "ratio")},
            "paper_value": _written(cost.paper),
        }
        for cost in costs
    )


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def median_with_quartiles(cost: Cost | None, scale: float, digits: int) -> str:
    """'41.2 [40.8, 42.0]'; the median alone where it was counted once or never differed."""
    if cost is None:
        return "-"
    text = f"{cost.median * scale:,.{digits}f}"
    if cost.low is None or cost.high is None or cost.low == cost.high:
        return text
    return f"{text} [{cost.low * scale:,.{digits}f}, {cost.high * scale:,.{digits}f}]"
