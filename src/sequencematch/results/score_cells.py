"""One table of the paper, measured: estimates of every quantity of every method.

Quantities: the task's score, ``accuracy`` or ``bleu`` (with ``chrf``, mean and sd only);
``accuracy_minus_<method>``, a paired difference to that method at the same eta (MLE and ULS have no eta), in the same
decoding; ``accuracy_minus_<method>[<decoding>]``, a paired difference to the same method without its decoding rule;
``repair_rate[<kind>]`` and ``false_alarm_rate[<kind>]`` by kind of corruption; ``pops_per_sequence``,
``wrong_pop_share``, ``cut_off_share`` (mean and sd only). Of errors older than one token, per decoding and number d of
tokens pushed after the error: ``taken_back[<d>]``, ``right_after_error[<d>]``, ``tokens_after_error[<d>]`` (mean and sd
only), over the questions that every seed measured. What cannot exist, such as the repair rate of a policy
without ``<bkspc>``, is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np

from sequencematch.results.bleu import corpus_bleu
from sequencematch.results.cells import Cell, Table
from sequencematch.results.comparison import Comparison
from sequencematch.results.intervals import Estimate, Resampled, resampled_mean, resampled_score, spread
from sequencematch.results.paper import Reported, find
from sequencematch.results.quantities import describe
from sequencematch.results.variants import Variant
from sequencematch.settings.decodings import without_rule
from sequencematch.settings.families import FAMILIES

BASELINES = ("mle", "bc")
BACKSPACE = {"corrupted": "repair_rate", "clean": "false_alarm_rate"}
# The column of each quantity in a run's ``per_example`` rows [question, deleted, right].
OLDER_ERRORS = {"taken_back": 1, "right_after_error": 2}
STATISTICS = ("pops_per_sequence", "wrong_pop_share", "cut_off_share")


def table_of(name: str, comparison: Comparison, cells: Sequence[Cell]) -> Table:
    """A named table of measured cells."""
    first = comparison.first
    return Table(name, first["scale"], first["task"], len(comparison.seeds), comparison.questions, cells)


def measure(comparison: Comparison, numbers: Sequence[Reported]) -> list[Cell]:
    """Every quantity of every variant, with the paper's number from ``numbers`` where there is one."""
    task, (metric, *others) = comparison.first["task"], FAMILIES[comparison.family].scores
    cells = []
    for decoding in comparison.decodings:
        variants = [variant for variant in comparison.variants if comparison.has(variant, decoding)]
        scores = {variant: _resampled(comparison, variant, decoding) for variant in variants}
        for variant, score in scores.items():
            # The paper samples at temperature 1, so its numbers belong to that decoding only.
            paper = find(numbers, task, variant.method, variant.eta, metric) if decoding == "sampled" else None
            cells.append(Cell(variant, decoding, metric, **_within(score.estimate(), metric), paper=paper))
            for other in baselines(comparison, variant):
                if other in scores:
                    paired = (score - scores[other]).estimate()
                    cells.append(Cell(variant, decoding, f"{metric}_minus_{other.method}", **asdict(paired)))
            cells += _gain_of_rule(comparison, variant, decoding, metric, score)
            cells += plain_cells(comparison, variant, decoding, (*others, *STATISTICS))
    cells += [*repair_cells(comparison), *older_error_cells(comparison)]
    return sorted(cells, key=lambda cell: comparison.variants.index(cell.variant))


def _gain_of_rule(
    comparison: Comparison, variant: Variant, decoding: str, metric: str, score: Resampled
) -> Iterator[Cell]:
    """The gain of a rule that deletes unlikely tokens, for decodings that were measured with and without it."""
    plain = without_rule(decoding)
    if plain != decoding and plain in comparison.decodings and comparison.has(variant, plain):
        gain = (score - _resampled(comparison, variant, plain)).estimate()
        yield Cell(variant, decoding, f"{metric}_minus_{variant.method}[{plain}]", **asdict(gain))


def _resampled(comparison: Comparison, variant: Variant, decoding: str) -> Resampled:
    if FAMILIES[comparison.family].score == "bleu":
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


def older_error_cells(comparison: Comparison) -> Iterator[Cell]:
    """Every quantity of every variant that was measured."""
    for variant in comparison.variants:
        runs = [metrics.get("older_errors", {}) for metrics in comparison.runs[variant]]
        for decoding, depths in runs[0].items():
            for depth in depths:
                measured = [run[decoding][depth] for run in runs]
                yield from _older_error_cells(variant, decoding, depth, measured)


def _older_error_cells(variant: Variant, decoding: str, depth: str, measured: list[dict]) -> Iterator[Cell]:
    rows = [{row[0]: row for row in one["per_example"]} for one in measured]
    shared = sorted(set.intersection(*map(set, rows)))
    if not shared:
        return
    for name, column in OLDER_ERRORS.items():
        values = [[of_seed[i][column] for i in shared] for of_seed in rows]
        if values[0][0] is not None:
            found = resampled_mean(np.array(values, dtype=float)).estimate()
            yield Cell(variant, decoding, f"{name}[{depth}]", **_within(found, name))
    pushes = np.array([one["pushes"] for one in measured], dtype=float)
    yield Cell(variant, decoding, f"tokens_after_error[{depth}]", float(pushes.mean()), spread(pushes))


def _within(found: Estimate, quantity: str) -> dict:
    """An estimate with its interval cut to the range of the quantity."""
    top = describe(quantity).top
    high = found.high if top is None else min(top, found.high)
    return asdict(replace(found, low=max(0.0, found.low), high=high))


def baselines(comparison: Comparison, variant: Variant) -> list[Variant]:
    """What a variant is compared with: MLE, BC and the method it varies, at its own eta or without eta."""
    methods = dict.fromkeys((*BASELINES, variant.family))
    candidates = [Variant(method, eta) for method in methods for eta in (0, variant.eta)]
    earlier = [other for other in candidates if other in comparison.runs and other.place < variant.place]
    return list(dict.fromkeys(earlier))
