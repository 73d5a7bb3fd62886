"""A table's numbers beside the paper's: the difference, and what our interval says of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sequencematch.comparison import Variant
from sequencematch.wording import decoding_label


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
    variant = Variant(cell["method"], float(cell["eta"]))
    between = bool(cell["low"]) and float(cell["low"]) <= paper <= float(cell["high"])
    apart = "below our interval" if paper < mean else "above our interval"
    return Row(
        variant=variant.label,
        eta=f"{variant.eta:g}" if variant.eta else "none",
        quantity=f"{cell['quantity'].replace('_', ' ')}, {decoding_label(cell['decoding'])}".rstrip(", "),
        ours=_number(mean) + (f" ± {_number(float(cell['sd']))}" if cell["sd"] else ""),
        interval=f"{_number(float(cell['low']))} to {_number(float(cell['high']))}" if cell["low"] else "-",
        paper=f"{paper:g}" + (f" ± {float(cell['paper_spread']):g}" if cell["paper_spread"] else ""),
        difference=f"{mean - paper:+.3f}",
        verdict="-" if not cell["low"] else "inside our interval" if between else apart,
    )


def _number(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"
