"""How methods look in every figure: a colour for each method, a fill for each noise level."""

from collections.abc import Collection

from sequencematch.results.theme import BLUE, CRIMSON, GREEN, GREY, OLIVE, ORANGE, PURPLE
from sequencematch.results.variants import Variant

# MLE with a decoding rule that deletes unlikely tokens; no method, but drawn as one.
RULE = "rule"
METHODS = {"mle": GREY, "uls": PURPLE, "bc": BLUE, "sm": ORANGE, "dagger": OLIVE, RULE: GREEN}
OTHERS = (CRIMSON, PURPLE, OLIVE)  # of variants of a method such as sm_js, in the order of their names
DASHES = ("solid", "dashed", "dotted", "dashdot")


def colours_of(methods: Collection[str]) -> dict[str, str]:
    """A colour for each method: the same in every figure for those of the paper."""
    others = sorted(set(methods) - METHODS.keys())
    return METHODS | {method: OTHERS[i % len(OTHERS)] for i, method in enumerate(others)}


def dashes_of(variants: Collection[Variant]) -> dict[Variant, str]:
    """A line style for each variant: solid at its method's highest noise level, then dashed, dotted."""
    found = {}
    for variant in variants:
        higher = {other.eta for other in variants if other.method == variant.method and other.eta > variant.eta}
        found[variant] = DASHES[len(higher) % len(DASHES)]
    return found
