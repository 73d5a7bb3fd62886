"""A table's numbers beside the paper's: the difference, and what our interval says of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sequencematch.scores.comparison import Variant
from sequencematch.scores.quantities import describe
from sequencematch.tables.wording import decoding_label, eta_label, heading, number


@dataclass(frozen=True)
class Row:
    """One quantity of one variant that the paper reports too, as text."""

    variant: str
    eta: str
    quantity: str
    ours: str
    interval: str
    paper: str
    difference: str
    verdict: str


def beside_paper(cells: Sequence[dict[str, str]]) -> list[Row]:
    """The lines of a table's CSV for which the paper has a number."""
    return [_row(cell) for cell in cells if cell.get("paper_value")]


def _row(cell: dict[str, str]) -> Row:
    mean, paper = float(cell["mean"]), float(cell["paper_value"])
    variant, digits = Variant(cell["method"], float(cell["eta"])), describe(cell["quantity"]).digits
    low, high = (number(float(cell[side]), digits) if cell[side] else "" for side in ("low", "high"))
    between = bool(low) and float(cell["low"]) <= paper <= float(cell["high"])
    apart = "below our interval" if paper < mean else "above our interval"
    return Row(
        variant=variant.label,
        eta=eta_label(variant),
        quantity=", ".join(filter(None, (heading(cell["quantity"]), decoding_label(cell["decoding"])))),
        ours=number(mean, digits) + (f" ± {number(float(cell['sd']), digits)}" if cell["sd"] else ""),
        interval=f"{low} to {high}" if low else "-",
        paper=f"{paper:g}" + (f" ± {float(cell['paper_spread']):g}" if cell["paper_spread"] else ""),
        difference=f"{mean - paper:+.{digits}f}",
        verdict="-" if not low else "inside our interval" if between else apart,
    )
