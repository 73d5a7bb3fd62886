"""One table of the paper, measured: estimates of every quantity, and the tidy CSV of them.

CSV: one line per (method, eta, decoding, quantity) with mean, standard deviation between seeds (``sd``), 95%
interval (``low``, ``high``) and the paper's number. Quantities: the task's score, ``accuracy`` or ``bleu`` (with
``chrf``, mean and sd only); ``accuracy_minus_<method>``, a paired difference to that method at the same eta (MLE and
ULS have no eta); ``repair_rate[<kind>]`` and ``false_alarm_rate[<kind>]`` by kind of corruption;
``pops_per_sequence``, ``wrong_pop_share``, ``cut_off_share`` (mean and sd only). Lines that cannot exist, such as the
repair rate of a policy without ``<bkspc>``, are left out; ``sd`` is empty with one seed.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from sequencematch.scores.bleu import corpus_bleu
from sequencematch.scores.comparison import Comparison, Variant
from sequencematch.scores.intervals import Estimate, Resampled, resampled_mean, resampled_score, spread
from sequencematch.scores.paper import Reported, find
from sequencematch.scores.quantities import describe

BASELINES = ("mle", "bc")
BACKSPACE = {"corrupted": "repair_rate", "clean": "false_alarm_rate"}
STATISTICS = ("pops_per_sequence", "wrong_pop_share", "cut_off_share")
# The score that a family's tables are about, and what else stands beside it.
SCORES = {"arithmetic": ("accuracy",), "translation": ("bleu", "chrf")}


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
    task, (metric, *beside) = comparison.first["task"], SCORES[comparison.family]
    cells = []
    for decoding in comparison.decodings:
        variants = [variant for variant in comparison.variants if comparison.has(variant, decoding)]
        scores = {variant: _resampled(comparison, variant, decoding) for variant in variants}
        for variant, score in scores.items():
            # The paper samples at temperature 1; its numbers stand beside ours of the same decoding only.
            paper = find(numbers, task, variant.method, variant.eta, metric) if decoding == "sampled" else None
            cells.append(Cell(variant, decoding, metric, **_within(score.estimate(), metric), paper=paper))
            for other in baselines(comparison, variant):
                if other in scores:
                    paired = (score - scores[other]).estimate()
                    cells.append(Cell(variant, decoding, f"{metric}_minus_{other.method}", **asdict(paired)))
            cells += plain_cells(comparison, variant, decoding, (*beside, *STATISTICS))
    cells += repair_cells(comparison)
    return sorted(cells, key=lambda cell: comparison.variants.index(cell.variant))


def _resampled(comparison: Comparison, variant: Variant, decoding: str) -> Resampled:
    if comparison.family == "translation":
        return resampled_score(comparison.statistics(variant, decoding), corpus_bleu)
    return resampled_mean(comparison.correct(variant, decoding))


def plain_cells(comparison: Comparison, variant: Variant, decoding: str, names: Sequence[str]) -> Iterator[Cell]:
    """Numbers that every seed has one of: mean and spread, without an interval."""
    for name in names:
        values = comparison.statistic(variant, decoding, name)
        if len(values):
            yield Cell(variant, decoding, name, float(values.mean()), spread(values))


def repair_cells(comparison: Comparison) -> Iterator[Cell]:
    """How ``<bkspc>`` answers each kind of corruption, of the variants that have it."""
    for variant in comparison.variants:
        for kind in comparison.corruptions:
            for side, name in BACKSPACE.items():
                probabilities = comparison.probabilities(variant, kind, side)
                if probabilities is not None:
                    found = _within(resampled_mean(probabilities).estimate(), name)
                    yield Cell(variant, "", f"{name}[{kind}]", **found)


def _within(found: Estimate, quantity: str) -> dict:
    """An estimate whose interval cannot leave what the quantity can be."""
    return asdict(replace(found, low=max(0.0, found.low), high=min(describe(quantity).top, found.high)))


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
