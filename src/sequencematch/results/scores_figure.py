"""The figure of a table of accuracy or BLEU: scores, and paired differences to MLE, a panel per decoding."""

from pathlib import Path

from sequencematch.results.cells import Cell, Table
from sequencematch.results.dots import Dot, Panel, plot_dots
from sequencematch.results.quantities import describe
from sequencematch.results.series import colours_of
from sequencematch.results.variants import Variant
from sequencematch.results.words import capital, decoding_label, sample_size, without_marks

NOTE = "Dots: mean; bars: 95% interval; hollow: a lower noise level η of the same method; {}."


def plot_scores(table: Table, heading: str, path: Path) -> None:
    """Scores above, paired differences to MLE below where the table has MLE."""
    panels = [*score_panels(table), *difference_panels(table)]
    plot_dots(panels, heading, NOTE.format(sample_size(table)), path)


def score_panels(table: Table) -> list[Panel]:
    """The score of each variant, a panel per decoding."""
    return _panels(table, table.metric, capital(describe(table.metric).label), None)


def difference_panels(table: Table) -> list[Panel]:
    """Each variant's paired difference to MLE, a panel per decoding; none where MLE is not in the table."""
    label = f"{capital(describe(table.metric).label)}, difference to MLE"
    return _panels(table, f"{table.metric}_minus_mle", label, 0.0)


def _panels(table: Table, quantity: str, axis: str, baseline: float | None) -> list[Panel]:
    looks = look_of(table)
    return [
        Panel(
            without_marks(decoding_label(decoding)),
            axis,
            [
                dot_of(cell, cell.variant.name, cell.variant.label, *looks[cell.variant])
                for cell in table.cells
                if (cell.quantity, cell.decoding) == (quantity, decoding)
            ],
            baseline,
        )
        for decoding in table.decodings_of(quantity)
    ]


def look_of(table: Table) -> dict[Variant, tuple[str, bool]]:
    """The colour of each variant's method, and whether its marker is filled (at its highest noise level)."""
    colours = colours_of({variant.method for variant in table.variants})
    highest: dict[str, float] = {}
    for variant in table.variants:
        highest[variant.method] = max(variant.eta, highest.get(variant.method, 0))
    return {v: (colours[v.method], v.eta == highest[v.method]) for v in table.variants}


def dot_of(cell: Cell, row: str, series: str, colour: str, filled: bool = True, scale: float = 1) -> Dot:
    """A cell as a dot, its numbers multiplied by ``scale``."""
    low, high = (None if x is None else x * scale for x in (cell.low, cell.high))
    return Dot(row, series, cell.mean * scale, low, high, colour, filled)
