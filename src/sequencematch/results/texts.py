"""Table 8, measured on open text: how ``<bkspc>`` repairs, and what it does to the text as a truncation of sampling.

The quantities differ from those of ``scores.py``: ``perplexity``, ``mauve``, ``entropy[<order>]``,
``repetition`` and ``distinct`` of a decoding, as judged; ``held_out_nll`` of a model that may delete,
``held_out_nll_given_no_deletion``, ``held_out_nll_minus_<method>``.
``mauve_minus_<method>`` is a paired difference to that method in the same decoding,
``mauve_minus_<method>[<decoding>]`` to that decoding of it. MAUVE has one number per seed and none per question, so its
intervals are Student's over seeds, and there is none with one seed. The real continuations are the method
``reference``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from sequencematch.results.cells import REFERENCE, Cell
from sequencematch.results.comparison import Comparison
from sequencematch.results.intervals import Resampled, estimate_seeds, resampled_mean, spread
from sequencematch.results.score_cells import STATISTICS, baselines, older_error_cells, plain_cells, repair_cells
from sequencematch.results.variants import Variant
from sequencematch.settings.decodings import concerns_backspace

MASKED = "bkspc_masked"


def measure_text(comparison: Comparison) -> list[Cell]:
    """Every quantity of every variant and of the real continuations."""
    names = measures(comparison)
    cells: list[Cell] = []
    for variant in comparison.variants:
        for decoding in comparison.decodings:
            if comparison.has(variant, decoding):
                cells += plain_cells(comparison, variant, decoding, (*names, "mauve", *STATISTICS))
        cells += _mauve_differences(comparison, variant)
        cells += _held_out(comparison, variant)
    of_backspace = [*repair_cells(comparison), *older_error_cells(comparison)]
    return [*cells, *of_backspace, *_reference(comparison, names)]


def measures(comparison: Comparison) -> list[str]:
    """What is judged of texts, real ones too: perplexity, entropy by order, repetition, distinct."""
    orders = [f"entropy[{order}]" for order in comparison.first["reference"]["entropy"]]
    return ["perplexity", *orders, "repetition", "distinct"]


def other_decodings(comparison: Comparison, other: Variant) -> list[str]:
    """The decodings of ``other`` that are truncations of its sampling, as ``<bkspc>`` may be one."""
    known = [name for name in comparison.decodings if comparison.has(other, name)]
    others = ("sampled", "greedy", "perturbed")
    return [name for name in known if not name.startswith(others) and not concerns_backspace(name)]


def _mauve_differences(comparison: Comparison, variant: Variant) -> Iterator[Cell]:
    """Differences of sampled text in MAUVE: to the baselines, sampled.

    A policy with <bkspc> is also compared with itself without <bkspc>, and with truncations of MLE.
    """
    pairs = [(other, "sampled") for other in baselines(comparison, variant)]
    if any(metrics["repair"] is not None for metrics in comparison.runs[variant]):
        pairs += [(variant, MASKED)] if comparison.has(variant, MASKED) else []
        pairs += [
            (other, name)
            for other in baselines(comparison, variant)
            if other.method == "mle"
            for name in other_decodings(comparison, other)
        ]
    for other, decoding in pairs:
        if comparison.has(variant, "sampled") and comparison.has(other, decoding):
            own, its = comparison.statistic(variant, "sampled", "mauve"), comparison.statistic(other, decoding, "mauve")
            name = f"mauve_minus_{other.method}" + (f"[{decoding}]" if decoding != "sampled" else "")
            if len(own) and len(its):  # too few texts have no MAUVE
                yield _over_seeds(variant, "sampled", name, own - its)


def _over_seeds(variant: Variant, decoding: str, name: str, values: np.ndarray) -> Cell:
    if len(values) > 1:
        return Cell(variant, decoding, name, **asdict(estimate_seeds(values)))
    return Cell(variant, decoding, name, float(values.mean()), None)


def _held_out(comparison: Comparison, variant: Variant) -> Iterator[Cell]:
    """The model's own loss on the real continuations, and given that it does not delete; every continuation has one."""
    own = _losses(comparison, variant)
    given_no_deletion = _losses(comparison, variant, "held_out_given_no_deletion")
    yield Cell(variant, "", "held_out_nll_given_no_deletion", **asdict(given_no_deletion.estimate()))
    yield Cell(variant, "", "held_out_nll", **asdict(own.estimate()))
    for other in baselines(comparison, variant):
        paired = (own - _losses(comparison, other)).estimate()
        yield Cell(variant, "", f"held_out_nll_minus_{other.method}", **asdict(paired))


def _losses(comparison: Comparison, variant: Variant, name: str = "held_out") -> Resampled:
    return resampled_mean(np.array([metrics[name]["per_example"] for metrics in comparison.runs[variant]]))


def _reference(comparison: Comparison, names: Sequence[str]) -> Iterator[Cell]:
    """The real continuations under each seed's judge, which is the same for all methods."""
    for name in names:
        values = comparison.reference(name)
        yield Cell(REFERENCE, "", name, float(values.mean()), spread(values))
