"""A row of a table: a method at a noise level, its label and its place among the others."""

from dataclasses import dataclass

from sequencematch.settings.losses import LOSSES

WRITTEN = {"dagger": "DAgger", "keep": "Keep", "rewind": "Rewind"}  # names that are not written in capitals alone
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
