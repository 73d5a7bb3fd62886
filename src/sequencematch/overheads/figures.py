"""Where the time of a step goes, as stacked bars; and how a step's cost grows with length and batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sequencematch.overheads.measured import Measured
from sequencematch.overheads.steps_table import LABELS, PART_LABELS, Cell, parts_of
from sequencematch.plots.theme import COLOURS, INK, SOFT, drawing


def plot_parts(cells: Sequence[Cell], title: str, path: Path) -> None:
    """A bar per row, of its parts in milliseconds; a panel per case. The token floor is a mark on the bar."""
    cases = list(dict.fromkeys(cell.case for cell in cells))
    rows = list(dict.fromkeys(cell.row for cell in cells))
    width, height = max(4.2, 7.5 / len(cases)), 1.6 + 0.32 * len(rows)
    with drawing(path, len(cases), 1, width, height, sharey=True) as (figure, grid):
        for panel, case in zip(grid[0], cases, strict=True):
            of = {(cell.row, cell.quantity): cell.median for cell in cells if cell.case == case}
            left = dict.fromkeys(rows, 0.0)
            parts = {row: parts_of(cells, case, row) for row in rows}
            for (part, label), colour in zip(PART_LABELS.items(), COLOURS, strict=False):
                widths = [1e3 * max(0.0, parts[row][part]) for row in rows]
                panel.barh(range(len(rows)), widths, 0.6, list(left.values()), color=colour, label=label)
                left = {row: left[row] + width for row, width in zip(rows, widths, strict=True)}
            for place, row in enumerate(rows):
                floor = 1e3 * of[row, "token_floor"] * of["mle", "step"]
                panel.plot([floor] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=1.2)
                panel.text(left[row], place, f" {of[row, 'amortised_ratio']:.2f}", va="center", color=SOFT)
            panel.plot([], [], color=INK, linewidth=1.2, label="token floor")
            panel.set(title=case, xlabel="milliseconds per step; beside the bar, times MLE")
            panel.set_yticks(range(len(rows)), [LABELS[row] for row in rows])
            panel.grid(axis="y", visible=False)
        grid[0][0].invert_yaxis()
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.suptitle(title, fontsize=10)


def plot_growth(measured: Measured, title: str, path: Path) -> None:
    """Medians of a step of each row over lengths and over batches; below, over the MLE step, and the token floors."""
    sizes = {
        case: tuple(int(measured.series(case, "", name)[0]) for name in ("context", "batch")) for case in measured.cases
    }
    shortest, smallest = min(context for context, _ in sizes.values()), min(batch for _, batch in sizes.values())
    over = {
        f"context, batch {smallest}": {case: c for case, (c, b) in sizes.items() if b == smallest},
        f"batch, context {shortest}": {case: b for case, (c, b) in sizes.items() if c == shortest},
    }
    over = {name: dict(sorted(cases.items(), key=lambda item: item[1])) for name, cases in over.items()}
    rows = [row for row in LABELS if any(len(measured.series(case, row, "step")) for case in sizes)]
    with drawing(path, 2, 2, 3.8, 2.6, sharex="col") as (figure, grid):
        for column, (name, cases) in enumerate(over.items()):
            top, bottom = grid[0][column], grid[1][column]
            for row, colour in zip(rows, COLOURS, strict=False):
                steps = [_median(measured.series(case, row, "step")) for case in cases]
                ratios, floors = (
                    [_median(measured.series(case, row, name) / measured.series(case, "mle", name)) for case in cases]
                    for name in ("step", "tokens")
                )
                x = list(cases.values())
                top.plot(x, steps, "o-", color=colour, markersize=4, label=LABELS[row])
                bottom.plot(x, ratios, "o-", color=colour, markersize=4)
                bottom.plot(x, floors, ":", color=colour)
            top.set(xscale="log", yscale="log")
            bottom.set(xscale="log", xlabel=name)
            bottom.set_xticks(list(cases.values()), [f"{value:,}" for value in cases.values()])
            bottom.set_xticks([], minor=True)
            bottom.set_ylim(bottom=0)
        grid[0][0].set_ylabel("seconds per step")
        grid[1][0].set_ylabel("times the MLE step")
        bottom.plot([], [], ":", color=INK, label="token floor")
        handles, labels = top.get_legend_handles_labels()
        dotted, floor = bottom.get_legend_handles_labels()
        figure.legend(handles + dotted, labels + floor, loc="outside lower center", ncols=3)
        figure.suptitle(title, fontsize=10)


def _median(values: np.ndarray) -> float:
    return float(np.median(values))
