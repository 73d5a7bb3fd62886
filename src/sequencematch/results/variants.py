"""A row of a table: a method at a noise level, its label and place, its colour and line in figures."""

from collections.abc import Collection
from dataclasses import dataclass

from sequencematch.results.theme import BLUE, CRIMSON, GREEN, GREY, OLIVE, ORANGE, PURPLE
from sequencematch.settings.losses import LOSSES

WRITTEN = {
    "dagger": "DAgger",
    "head": "Head",
    "keep": "Keep",
    "rewind": "Rewind",
}  # names that are not written in capitals alone
METHOD_ORDER = tuple(LOSSES)  # a method without settings of its own has the name of its loss


@dataclass(frozen=True)
class Variant:
    """A row of a table: a named method at a noise level (0 for methods without noise)."""

    method: str
    eta: float

    @property
    def family(self) -> str:
        """The method a variant belongs to: sm for sm_js."""
        return self.method.split("_")[0]

    @property
    def label(self) -> str:
        """MLE, SM, SM (js), DAgger."""
        suffix = self.method.removeprefix(self.family).strip("_").replace("_", " ")
        return WRITTEN.get(self.family, self.family.upper()) + (f" ({suffix})" if suffix else "")

    @property
    def name(self) -> str:
        """The label with the noise level: MLE; SM (js), η = 0.2."""
        return f"{self.label}, η = {self.eta:g}" if self.eta else self.label

    @property
    def place(self) -> tuple:
        """Sorts rows as the paper does: MLE, ULS, BC, SM; variants after their method; eta ascending."""
        known = self.family in METHOD_ORDER
        return METHOD_ORDER.index(self.family) if known else len(METHOD_ORDER), self.method, self.eta


# ---- how methods look in every figure ---------------------------------------------------------------

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
