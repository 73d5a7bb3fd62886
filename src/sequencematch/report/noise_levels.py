"""A table's measures against the noise level, by method: what the paper's tables say in columns, as a figure."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.plots.series import colours_of
from sequencematch.plots.theme import INK, SOFT, drawing
from sequencematch.scores.comparison import Variant
from sequencematch.scores.quantities import describe
from sequencematch.tables.texts import REFERENCE
from sequencematch.tables.wording import decoding_label, heading


def read_cells(path: Path) -> list[dict[str, str]]:
    """The lines of a table's CSV. Raises UserError where it is no such file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            cells = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not there or no text file: make the table again") from error
    if not cells or not {"method", "eta", "decoding", "quantity", "mean"} <= cells[0].keys():
        raise UserError(f"'{path}' is no table of this project: name the CSV that make_table writes")
    return cells


@dataclass(frozen=True)
class Panel:
    """One quantity in one decoding ('' where it needs none)."""

    quantity: str
    decoding: str

    @property
    def title(self) -> str:
        """'BLEU, greedy'; 'repair rate, random'."""
        return ", ".join(filter(None, (heading(self.quantity), decoding_label(self.decoding)))).replace("`", "")


# What texts are judged by: in one decoding, for a table of them has many that do not follow from eta.
OF_TEXTS = (Panel("mauve", "sampled"), Panel("perplexity", "sampled"), Panel("held_out_nll", ""))


def panels_of(cells: Sequence[dict]) -> list[list[Panel]]:
    """Rows of panels: the score in every decoding, or what texts are judged by; then the repair of each corruption."""
    known = dict.fromkeys(Panel(cell["quantity"], cell["decoding"]) for cell in cells)
    scores = [panel for panel in known if panel.quantity in ("accuracy", "bleu")]
    repair = [panel for panel in known if panel.quantity.startswith("repair_rate[")]
    rows = [scores or [panel for panel in OF_TEXTS if panel in known], repair]
    return [row for row in rows if row]


def plot_noise_levels(cells: Sequence[dict], path: Path) -> None:
    """Mean and 95% interval, or spread between seeds where there is none; the paper's mean and spread."""
    rows = panels_of(cells)
    if not rows:
        raise UserError("the table holds no measure of a method: there is nothing to draw")
    etas = sorted({float(c["eta"]) for c in cells} - {0.0}) or [0.0]
    methods = [name for name in dict.fromkeys(c["method"] for c in cells) if name != REFERENCE.method]
    colours = colours_of(methods)
    with drawing(path, max(map(len, rows)), len(rows), 2.4, 2.2) as (figure, grid):
        for row, places in zip(rows, grid, strict=True):
            for panel, place in zip(row, places, strict=False):
                if place is not places[0] and describe(panel.quantity) == describe(row[0].quantity):
                    place.sharey(places[0])  # one scale for what can be compared
                chosen = [c for c in cells if (c["quantity"], c["decoding"]) == (panel.quantity, panel.decoding)]
                _draw(place, chosen, methods, etas, colours)
                place.set_title(panel.title)
                place.set(xlabel="noise level η", xlim=(-0.6, len(etas) - 0.4))
                place.set_xticks(range(len(etas)), [f"{eta:g}" for eta in etas])
                place.grid(axis="x", visible=False)
                if panel.quantity.startswith("repair_rate["):
                    place.set_ylim(0, 1)
                for real in (c for c in cells if (c["method"], c["quantity"]) == (REFERENCE.method, panel.quantity)):
                    place.axhline(float(real["mean"]), color=SOFT, linewidth=0.8, linestyle="dashed")
                    place.text(len(etas) - 0.45, float(real["mean"]), "real text", va="bottom", ha="right", color=SOFT)
            for place in places[len(row) :]:
                place.set_axis_off()
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))


def _draw(panel, cells: Sequence[dict], methods: Sequence[str], etas: Sequence[float], colours: dict) -> None:
    """Methods side by side at each eta; one without noise beside every eta, as in the paper's tables."""
    for place, method in enumerate(methods):
        offset = (place - (len(methods) - 1) / 2) * 0.6 / len(methods)
        # Every panel names every method, so that the first one has the whole legend.
        panel.plot([], [], "o-", color=colours[method], markersize=4, label=Variant(method, 0).label)
        for cell in (c for c in cells if c["method"] == method):
            eta, mean = float(cell["eta"]), float(cell["mean"])
            for x in [etas.index(eta)] if eta else range(len(etas)):
                _point(panel, x + offset, mean, cell, colours[method])
                if cell["paper_value"]:
                    value, spread = float(cell["paper_value"]), float(cell["paper_spread"] or 0)
                    style = {"color": colours[method], "mfc": "none", "markersize": 4, "alpha": 0.9}
                    at = x + offset + 0.06
                    panel.plot([at] * 2, [value - spread, value + spread], ":", color=colours[method])
                    panel.plot(at, value, "D", **style)
    if any(c["paper_value"] for c in cells):
        panel.plot([], [], "D:", color=INK, mfc="none", markersize=4, label="paper: mean ± spread")


def _point(panel, x: float, mean: float, cell: dict, colour: str) -> None:
    """A mean and its interval, or as a thin line its standard deviation."""
    if cell["low"]:
        panel.plot([x] * 2, [float(cell["low"]), float(cell["high"])], color=colour)
    elif cell["sd"]:
        panel.plot([x] * 2, [mean - float(cell["sd"]), mean + float(cell["sd"])], color=colour, linewidth=0.7)
    panel.plot(x, mean, "o", color=colour, markersize=4)
