"""How methods look in the report's figures, and what they are called."""

from collections.abc import Sequence

from sequencematch.plots.theme import COLOURS
from sequencematch.scores.comparison import METHOD_ORDER, Variant


def colours_of(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method, the same in every figure where the methods are the paper's; others follow."""
    ordered = [*METHOD_ORDER, *sorted(set(methods) - set(METHOD_ORDER))]
    return {method: COLOURS[i % len(COLOURS)] for i, method in enumerate(ordered)}


def label(variant: Variant) -> str:
    """'SM (js), η = 0.2'."""
    return f"{variant.label}, η = {variant.eta:g}" if variant.eta else variant.label
