"""The figures of tables: dot plots of scores and differences, and of the MAUVE and perplexity of texts.

In a dot plot categories are on the y axis; there is a panel per decoding, and a dot with its interval per method. No
line joins the dots, because the categories have no order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sequencematch.results.estimates import REFERENCE, Estimate, Table
from sequencematch.results.quantities import describe
from sequencematch.results.quantities import key as key_of
from sequencematch.results.theme import INK, SOFT, canvas, drawing, key, legend, title, to_svg, wrapped
from sequencematch.results.variants import Variant, colours_of
from sequencematch.results.words import capital, decoding_label, sample_size, without_marks

ACROSS = 3  # panels side by side
FAINT = 0.45
NOTE = "Dots: mean; bars: 95% interval, unadjusted; hollow: a lower noise level η of the same method; {}."
TEXTS_NOTE = "Means over seeds ({}); hollow: a lower noise level η of the same method; line: perplexity of real text."


@dataclass(frozen=True)
class Dot:
    """An estimate: its row, the series it belongs to (its legend entry), and how it looks.

    low, high: the ends of its interval; None without one. filled: whether the marker is. faint: drawn paler.
    """

    row: str
    series: str
    mean: float
    low: float | None
    high: float | None
    colour: str
    filled: bool = True
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel: its title, the label of its x axis, and its dots. Panels with one label share their x limits.

    baseline: the place of a vertical line, such as 0 of a difference; None for none.
    """

    title: str
    axis: str
    dots: Sequence[Dot]
    baseline: float | None = None


def plot_dots(panels: Sequence[Panel], heading: str, note: str, path: Path, rows: Sequence[str] = ()) -> None:
    """All panels as one figure, at most three side by side.

    note: what error bars, n and seeds are, below the heading. rows: their order from top to bottom, where it is not
    that of the dots.
    """
    rows = rows or _rows(panels)
    columns = min(ACROSS, len(panels))
    lines = -(-len(panels) // columns)
    with drawing(path, columns, lines, 3.0, _height(panels, rows), sharey=True) as (figure, grid):
        for i, panel in enumerate(panels):
            _draw(grid.flat[i], panel, panels, rows)
        for place in grid.flat[len(panels) :]:
            place.set_axis_off()
        legend(figure, _keys(panels))
        title(figure, heading, note)


def panel_svgs(panels: Sequence[Panel]) -> list[str]:
    """Each panel as an SVG of its own, 4 inches wide, for a page that puts them side by side or below each other."""
    rows = _rows(panels)
    found = []
    for panel in panels:
        with canvas(1, 1, 4.0, _height(panels, rows)) as (figure, grid):
            _draw(grid[0, 0], panel, panels, rows)
            found.append(to_svg(figure))
    return found


def legend_of(panels: Sequence[Panel]) -> dict[str, tuple[str, bool]]:
    """The colour of each series, and whether its marker is filled."""
    return {dot.series: (dot.colour, dot.filled) for panel in panels for dot in panel.dots}


def _rows(panels: Sequence[Panel]) -> list[str]:
    return list(dict.fromkeys(dot.row for panel in panels for dot in panel.dots))


def _keys(panels: Sequence[Panel]) -> list:
    return [key(series, colour, **_face(colour, filled)) for series, (colour, filled) in legend_of(panels).items()]


def _face(colour: str, filled: bool) -> dict:
    return {"markerfacecolor": colour if filled else "white", "markersize": 5}


def _height(panels: Sequence[Panel], rows: Sequence[str]) -> float:
    """Inches of a panel: room for each row's label and for the dots that share it."""
    together = max(1, *(len(_series(panel, row)) for panel in panels for row in rows))
    lines = sum(max(0.15 * together + 0.09, 0.16 * len(wrapped(row, 24).splitlines()) + 0.06) for row in rows)
    return max(1.3, lines + 0.95)


def _series(panel: Panel, row: str) -> list[str]:
    return list(dict.fromkeys(dot.series for dot in panel.dots if dot.row == row))


def _draw(place, panel: Panel, panels: Sequence[Panel], rows: Sequence[str]) -> None:
    for dot in panel.dots:
        here = _series(panel, dot.row)
        y = rows.index(dot.row) + (here.index(dot.series) - (len(here) - 1) / 2) * min(0.24, 0.8 / len(here))
        alpha = FAINT if dot.faint else 1
        if dot.low is not None and dot.high is not None:
            place.plot([dot.low, dot.high], [y, y], color=dot.colour, linewidth=1.4, alpha=alpha)
        place.plot(dot.mean, y, "o", color=dot.colour, alpha=alpha, **_face(dot.colour, dot.filled))
    if panel.baseline is not None:
        place.axvline(panel.baseline, color=SOFT, linewidth=0.9, zorder=0)
    place.set_title(wrapped(panel.title, 34), loc="left")
    place.set_xlabel(wrapped(panel.axis, 38))
    place.set_yticks(range(len(rows)), [wrapped(row, 24) for row in rows], color=INK)
    place.set(xlim=_limits(panel, panels), ylim=(len(rows) - 0.45, -0.55))
    place.tick_params(axis="y", length=0)
    place.locator_params(axis="x", nbins=5)
    place.grid(axis="y", visible=False)


def _limits(panel: Panel, panels: Sequence[Panel]) -> tuple[float, float]:
    same_axis = [other for other in panels if other.axis == panel.axis]
    values = [x for p in same_axis for d in p.dots for x in (d.mean, d.low, d.high) if x is not None]
    values += [p.baseline for p in same_axis if p.baseline is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


# ---- tables of scores -------------------------------------------------------------------------------


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
                if (cell.name, cell.decoding) == (quantity, decoding)
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


def dot_of(cell: Estimate, row: str, series: str, colour: str, filled: bool = True) -> Dot:
    """An estimate as a dot."""
    return Dot(row, series, cell.mean, cell.low, cell.high, colour, filled)


def older_error_panels(table: Table) -> list[Panel]:
    """The share of errors ever deleted, a row per number of tokens in between and a panel per decoding."""
    looks, axis = look_of(table), capital(describe("taken_back").label)
    found = sorted(
        (cell for cell in table.cells if cell.quantity.startswith("taken_back[")),
        key=lambda cell: int(key_of(cell.quantity)),
    )
    return [
        Panel(
            without_marks(decoding_label(decoding)),
            axis,
            [
                dot_of(cell, _row(key_of(cell.quantity)), cell.variant.name, *looks[cell.variant])
                for cell in found
                if cell.decoding == decoding
            ],
        )
        for decoding in sorted({cell.decoding for cell in found})
    ]


def _row(depth: str) -> str:
    return "at once" if depth == "0" else f"{depth} token{'s' * (depth != '1')} later"


# ---- tables of texts --------------------------------------------------------------------------------


def plot_texts(table: Table, heading: str, path: Path) -> None:
    """MAUVE and perplexity of every decoding. The standard deviations between seeds are in the table."""
    plot_dots(text_panels(table), heading, TEXTS_NOTE.format(sample_size(table)), path)


def text_panels(table: Table) -> list[Panel]:
    """A panel per measure, a row per decoding; a line at the perplexity of real text, which belongs to none."""
    looks, panels = look_of(table), []
    for quantity in ("mauve", "perplexity"):
        real, label = table.find(REFERENCE, "", quantity), capital(describe(quantity).label)
        dots = [
            dot_of(cell, without_marks(decoding_label(decoding)), variant.name, *looks[variant])
            for decoding in filter(None, table.decodings_of(quantity))
            for variant in table.variants
            if (cell := table.find(variant, decoding, quantity))
        ]
        if dots:
            panels.append(Panel(label, label, dots, real.mean if real else None))
    return panels
