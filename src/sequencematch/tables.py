"""One table of the paper, measured: estimates of every quantity, and the tidy CSV of them.

CSV: one line per (method, eta, decoding, quantity) with mean, standard deviation between seeds (``sd``), 95%
interval (``low``, ``high``) and the paper's number. Quantities: ``accuracy``; ``accuracy_minus_<method>``, a
paired difference to that method at the same eta (MLE and ULS have no eta); ``repair_rate``,
``false_alarm_rate``; ``pops_per_sequence``, ``wrong_pop_share``, ``cut_off_share`` (mean and sd only). Lines
that cannot exist, such as the repair rate of a policy without ``<bkspc>``, are left out; ``sd`` is empty with
one seed.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from sequencematch.comparison import Comparison, Variant
from sequencematch.intervals import estimate, spread
from sequencematch.paper import Reported, find

BASELINES = ("mle", "bc")
BACKSPACE = {"corrupted": "repair_rate", "clean": "false_alarm_rate"}
STATISTICS = ("pops_per_sequence", "wrong_pop_share", "cut_off_share")


@dataclass(frozen=True)
class Cell:
    """One quantity of one variant. ``decoding`` is empty for quantities that need none."""

    variant: Variant
    decoding: str
    quantity: str
    mean: float
    sd: float | None
    low: float | None = None
    high: float | None = None
    paper: Reported | None = None


def measure(comparison: Comparison, numbers: Sequence[Reported]) -> list[Cell]:
    """Every quantity of every variant, beside the paper's ``numbers`` where there is one."""
    task, cells = comparison.first["task"], []
    for variant in comparison.variants:
        for decoding in comparison.decodings:
            correct = comparison.correct(variant, decoding)
            # The paper samples at temperature 1; its numbers stand beside ours of the same decoding only.
            paper = find(numbers, task, variant.method, variant.eta, "accuracy") if decoding == "sampled" else None
            cells.append(Cell(variant, decoding, "accuracy", **_share(correct), paper=paper))
            for other in baselines(comparison, variant):
                paired = estimate(correct - comparison.correct(other, decoding))
                cells.append(Cell(variant, decoding, f"accuracy_minus_{other.method}", **asdict(paired)))
            for name in STATISTICS:
                values = comparison.statistic(variant, decoding, name)
                if len(values):
                    cells.append(Cell(variant, decoding, name, float(values.mean()), spread(values)))
        for side, name in BACKSPACE.items():
            probabilities = comparison.probabilities(variant, side)
            if probabilities is not None:
                cells.append(Cell(variant, "", name, **_share(probabilities)))
    return cells


def _share(scores: np.ndarray) -> dict:
    """The estimate of a share, whose interval cannot leave [0, 1]."""
    found = estimate(scores)
    return asdict(replace(found, low=max(0.0, found.low), high=min(1.0, found.high)))


def baselines(comparison: Comparison, variant: Variant) -> list[Variant]:
    """What a variant is compared with: MLE, BC and the method it varies, at its own eta or without eta."""
    methods = dict.fromkeys((*BASELINES, variant.family))
    candidates = [Variant(method, eta) for method in methods for eta in (0, variant.eta)]
    earlier = [other for other in candidates if other in comparison.runs and other.place < variant.place]
    return list(dict.fromkeys(earlier))


def to_csv(cells: Sequence[Cell], comparison: Comparison, table: str) -> str:
    """The tidy table (see the module's description); ``table`` is its name."""
    rows = [
        {
            "table": table,
            "scale": comparison.first["scale"],
            "task": comparison.first["task"],
            "method": cell.variant.method,
            "eta": cell.variant.eta,
            "decoding": cell.decoding,
            "quantity": cell.quantity,
            **{name: _rounded(getattr(cell, name)) for name in ("mean", "sd", "low", "high")},
            "seeds": len(comparison.seeds),
            "questions": comparison.questions,
            **{f"paper_{name}": getattr(cell.paper, name, "") for name in ("value", "spread", "source", "note")},
        }
        for cell in cells
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 6)
