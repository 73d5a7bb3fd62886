"""A table's measures against the noise level, by method: what the paper's tables say in columns, as a figure."""

import csv
from collections.abc import Sequence
from pathlib import Path

from sequencematch.comparison import Variant
from sequencematch.errors import UserError
from sequencematch.plots.series import colours_of
from sequencematch.plots.theme import INK, drawing
from sequencematch.wording import decoding_label


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


def measures(cells: Sequence[dict]) -> list[str]:
    """The quantities that a decoding is judged by: those with an interval that are no difference."""
    names = (c["quantity"] for c in cells if c["decoding"] and c["low"] and "_minus_" not in c["quantity"])
    return list(dict.fromkeys(names))


def plot_noise_levels(cells: Sequence[dict], path: Path) -> None:
    """A row per measure, a panel per decoding: mean and 95% interval, and the paper's mean and spread."""
    rows, decodings = measures(cells), list(dict.fromkeys(c["decoding"] for c in cells if c["decoding"]))
    if not rows:
        raise UserError("the table holds no measure with an interval: there is nothing to draw")
    etas = sorted({float(c["eta"]) for c in cells} - {0.0}) or [0.0]
    methods = list(dict.fromkeys(c["method"] for c in cells))
    colours = colours_of(methods)
    with drawing(path, len(decodings), len(rows), 2.3, 2.2, sharex=True, sharey="row") as (figure, grid):
        for quantity, panels in zip(rows, grid, strict=True):
            for decoding, panel in zip(decodings, panels, strict=True):
                chosen = [c for c in cells if (c["quantity"], c["decoding"]) == (quantity, decoding)]
                _draw(panel, chosen, methods, etas, colours)
            panels[0].set_ylabel(quantity.replace("_", " "))
        for decoding, panel in zip(decodings, grid[0], strict=True):
            panel.set_title(decoding_label(decoding).replace("`", ""))
        for panel in grid[-1]:
            panel.set(xlabel="noise level η", xlim=(-0.6, len(etas) - 0.4))
            panel.set_xticks(range(len(etas)), [f"{eta:g}" for eta in etas])
            panel.grid(axis="x", visible=False)
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
                if cell["low"]:
                    panel.plot([x + offset] * 2, [float(cell["low"]), float(cell["high"])], color=colours[method])
                panel.plot(x + offset, mean, "o", color=colours[method], markersize=4)
                if cell["paper_value"]:
                    value, spread = float(cell["paper_value"]), float(cell["paper_spread"] or 0)
                    style = {"color": colours[method], "mfc": "none", "markersize": 4, "alpha": 0.9}
                    at = x + offset + 0.06
                    panel.plot([at] * 2, [value - spread, value + spread], ":", color=colours[method])
                    panel.plot(at, value, "D", **style)
    if any(c["paper_value"] for c in cells):
        panel.plot([], [], "D:", color=INK, mfc="none", markersize=4, label="paper: mean ± spread")
