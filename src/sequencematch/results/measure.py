"""The numbers of a table: estimates of every quantity of every method.

Of questions with an answer: the task's score, ``accuracy`` or ``bleu`` (with ``chrf``, mean and sd only), and its
paired differences. Of text: ``perplexity``, ``mauve``, ``entropy[<order>]``, ``repetition`` and ``distinct`` of a
decoding, as judged; ``held_out_nll`` of a model that may delete, ``held_out_nll_given_no_deletion``. MAUVE has one
number per seed and none per question, so its intervals are Student's over seeds, and there is none with one seed. The
real continuations are the method ``reference``.

Of both: ``repair_rate[<kind>]`` and ``false_alarm_rate[<kind>]`` by kind of corruption; ``pops_per_sequence``,
``wrong_pop_share``, ``cut_off_share`` (mean and sd only). Of errors older than one token, per decoding and number d of
tokens pushed after the error: ``taken_back[<d>]``, ``right_after_error[<d>]``, ``tokens_after_error[<d>]`` (mean and sd
only), over the questions that every seed measured. What cannot exist, such as the repair rate of a policy without
``<bkspc>``, is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from sequencematch.results.bleu import corpus_bleu
from sequencematch.results.estimates import REFERENCE, Estimate, Place, Table
from sequencematch.results.intervals import Resampled, adjusted, estimate_seeds, resampled_mean, resampled_score, spread
from sequencematch.results.metrics_file import right_shares
from sequencematch.results.paper import Reported, find
from sequencematch.results.quantities import BY_SEED, describe
from sequencematch.results.runs import Comparison
from sequencematch.results.variants import Variant
from sequencematch.settings.decoding_names import concerns_backspace, without_rule
from sequencematch.settings.families import FAMILIES

BASELINES = ("mle", "bc")
BACKSPACE = {"corrupted": "repair_rate", "clean": "false_alarm_rate"}
# The column of each quantity in a run's ``per_example`` rows [question, deleted, right].
OLDER_ERRORS = {"taken_back": 1, "right_after_error": 2}
MASKED = "bkspc_masked"


def measure(name: str, comparison: Comparison, numbers: Sequence[Reported] = ()) -> Table:
    """The table ``name`` of the runs, with the paper's number from ``numbers`` where there is one."""
    judged = FAMILIES[comparison.family].judged
    of_family = _of_text(comparison) if judged else _of_questions(comparison, numbers)
    cells = [*of_family, *repair_estimates(comparison), *older_errors(comparison)]
    order = (*comparison.variants, REFERENCE)
    cells = adjusted(sorted(cells, key=lambda cell: order.index(cell.variant)))
    cells = [replace(cell, n=comparison.questions) for cell in cells]
    first = comparison.first
    return Table(name, first["scale"], first["task"], len(comparison.seeds), comparison.questions, cells)


def baselines(comparison: Comparison, variant: Variant) -> list[Variant]:
    """What a variant is compared with: MLE, BC and the method it varies, at its own eta or without eta."""
    methods = dict.fromkeys((*BASELINES, variant.family))
    candidates = [Variant(method, eta) for method in methods for eta in (0, variant.eta)]
    earlier = [other for other in candidates if other in comparison.runs and other.place < variant.place]
    return list(dict.fromkeys(earlier))


# ---- questions with an answer -----------------------------------------------------------------------


def _of_questions(comparison: Comparison, numbers: Sequence[Reported]) -> Iterator[Estimate]:
    metric = FAMILIES[comparison.family].score
    for decoding in comparison.decodings:
        variants = [variant for variant in comparison.variants if comparison.has(variant, decoding)]
        scores = {variant: _resampled(comparison, variant, decoding) for variant in variants}
        for variant, score in scores.items():
            where = _place(comparison, variant, decoding)
            # The paper samples at temperature 1, so its numbers belong to that decoding only.
            paper = find(numbers, where.task, variant.method, variant.eta, metric) if decoding == "sampled" else None
            yield replace(_within(score, where, metric), paper=paper)
            compared = [(other, decoding) for other in baselines(comparison, variant) if other in scores]
            # What a rule that deletes unlikely tokens adds to the same decoding.
            plain = without_rule(decoding)
            if plain != decoding and plain in comparison.decodings and comparison.has(variant, plain):
                compared.append((variant, plain))
            for other, its in compared:
                difference = score - (scores[other] if its == decoding else _resampled(comparison, other, its))
                yield difference.estimate(where, metric, _place(comparison, other, its))
            yield from _by_seed(comparison, where, BY_SEED)


def _resampled(comparison: Comparison, variant: Variant, decoding: str) -> Resampled:
    decoded = [metrics["decodings"][decoding] for metrics in comparison.runs[variant]]
    return score_of(decoded, comparison.family)


def score_of(decoded: Sequence[dict], family: str, unit: float = 1.0) -> Resampled:
    """BLEU, or accuracy as a share (in per cent with a unit of 100), of what each seed decoded."""
    if FAMILIES[family].score == "bleu":
        return resampled_score(np.array([one["statistics"] for one in decoded]), corpus_bleu)
    return resampled_mean(unit * np.array([right_shares(one) for one in decoded]))


# ---- text -------------------------------------------------------------------------------------------


def text_measures(comparison: Comparison) -> list[str]:
    """What is judged of texts, real ones too: perplexity, entropy by order, repetition, distinct."""
    orders = [f"entropy[{order}]" for order in comparison.first["reference"]["entropy"]]
    return ["perplexity", *orders, "repetition", "distinct"]


def _of_text(comparison: Comparison) -> Iterator[Estimate]:
    names = text_measures(comparison)
    for variant in comparison.variants:
        for decoding in comparison.decodings:
            if comparison.has(variant, decoding):
                yield from _by_seed(comparison, _place(comparison, variant, decoding), (*names, "mauve", *BY_SEED))
        yield from _mauve_differences(comparison, variant)
        yield from _held_out(comparison, variant)
    for name in names:  # the real continuations under each seed's judge, which is the same for all methods
        yield _mean(comparison.reference(name), _place(comparison, REFERENCE), name)


def _mauve_differences(comparison: Comparison, variant: Variant) -> Iterator[Estimate]:
    """Differences of sampled text in MAUVE: to the baselines, sampled.

    A policy with <bkspc> is also compared with itself without <bkspc>, and with the truncations of MLE's sampling, as
    ``<bkspc>`` may be one.
    """
    others = baselines(comparison, variant)
    pairs = [(other, "sampled") for other in others]
    if any(metrics["repair"] is not None for metrics in comparison.runs[variant]):
        unlike = ("sampled", "greedy", "perturbed")
        truncations = [d for d in comparison.decodings if not d.startswith(unlike) and not concerns_backspace(d)]
        pairs += [(variant, MASKED), *((mle, d) for mle in others if mle.method == "mle" for d in truncations)]
    for other, decoding in pairs:
        if comparison.has(variant, "sampled") and comparison.has(other, decoding):
            own, its = comparison.statistic(variant, "sampled", "mauve"), comparison.statistic(other, decoding, "mauve")
            if len(own) and len(its):  # too few texts have no MAUVE
                places = [_place(comparison, variant, "sampled"), _place(comparison, other, decoding)]
                found = estimate_seeds(own - its) if len(own) > 1 else Estimate(float((own - its).mean()))
                yield replace(found, where=places[0], quantity="mauve", against=places[1])


def _held_out(comparison: Comparison, variant: Variant) -> Iterator[Estimate]:
    """The model's own loss on the real continuations, and given that it does not delete; every continuation has one."""
    where, own = _place(comparison, variant), _losses(comparison, variant)
    given = _losses(comparison, variant, "held_out_given_no_deletion")
    yield given.estimate(where, "held_out_nll_given_no_deletion")
    yield own.estimate(where, "held_out_nll")
    for other in baselines(comparison, variant):
        yield (own - _losses(comparison, other)).estimate(where, "held_out_nll", _place(comparison, other))


def _losses(comparison: Comparison, variant: Variant, name: str = "held_out") -> Resampled:
    return resampled_mean(np.array([metrics[name]["per_example"] for metrics in comparison.runs[variant]]))


# ---- both -------------------------------------------------------------------------------------------


def repair_estimates(comparison: Comparison) -> Iterator[Estimate]:
    """How ``<bkspc>`` answers each kind of corruption, of the variants that have it."""
    for variant in comparison.variants:
        for kind in comparison.corruptions:
            for side, name in BACKSPACE.items():
                probabilities = comparison.probabilities(variant, kind, side)
                if probabilities is not None:
                    yield _within(resampled_mean(probabilities), _place(comparison, variant), f"{name}[{kind}]")


def older_errors(comparison: Comparison) -> Iterator[Estimate]:
    """What became of errors older than one token, of every variant that was measured."""
    for variant in comparison.variants:
        runs = [metrics.get("older_errors", {}) for metrics in comparison.runs[variant]]
        for decoding, depths in runs[0].items():
            for depth in depths:
                where = _place(comparison, variant, decoding)
                yield from _of_depth(where, depth, [run[decoding][depth] for run in runs])


def _of_depth(where: Place, depth: str, measured: list[dict]) -> Iterator[Estimate]:
    rows = [{row[0]: row for row in one["per_example"]} for one in measured]
    shared = sorted(set.intersection(*map(set, rows)))
    if not shared:
        return
    for name, column in OLDER_ERRORS.items():
        values = [[of_seed[i][column] for i in shared] for of_seed in rows]
        if values[0][0] is not None:
            yield _within(resampled_mean(np.array(values, dtype=float)), where, f"{name}[{depth}]")
    yield _mean(np.array([one["pushes"] for one in measured], dtype=float), where, f"tokens_after_error[{depth}]")


def _by_seed(comparison: Comparison, where: Place, names: Sequence[str]) -> Iterator[Estimate]:
    """Numbers that every seed has one of: mean and spread, without an interval."""
    for name in names:
        values = comparison.statistic(where.variant, where.decoding, name)
        if len(values):
            yield _mean(values, where, name)


def _mean(values: np.ndarray, where: Place, quantity: str) -> Estimate:
    return Estimate(float(values.mean()), spread(values), where=where, quantity=quantity)


def _within(score: Resampled, where: Place, quantity: str) -> Estimate:
    """An estimate with its interval cut to the range of the quantity."""
    found, top = score.estimate(where, quantity), describe(quantity).top
    low, high = (value if value is None else max(0.0, min(value, top or value)) for value in (found.low, found.high))
    return replace(found, low=low, high=high)


def _place(comparison: Comparison, variant: Variant, decoding: str = "") -> Place:
    return Place(comparison.first.get("task", ""), variant.method, variant.eta, decoding)
