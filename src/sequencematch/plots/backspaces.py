"""Where backspaces fall in a completion, and whether what they removed was wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sequencematch.comparison import Variant
from sequencematch.plots.series import label
from sequencematch.plots.theme import COLOURS, SOFT, drawing
from sequencematch.report.completions import Removal

BARS = 24  # places are drawn in at most so many bars


def plot_backspaces(found: dict[Variant, tuple[int, Sequence[Removal]]], path: Path) -> None:
    """A panel per variant; ``found`` holds the number of its sequences, and all their removals."""
    deepest = max((r.place for _, removed in found.values() for r in removed), default=0)
    width = deepest // BARS + 1
    edges = np.arange(0, deepest + width + 1, width)
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    with drawing(path, columns, rows, 2.4, 2.1, sharex=True, sharey=True) as (figure, grid):
        for panel, (variant, (sequences, removed)) in zip(grid.flat, found.items(), strict=False):
            below = np.zeros(len(edges) - 1)
            for wrong, colour, name in ((True, COLOURS[3], "wrong"), (False, COLOURS[2], "right")):
                heights = np.histogram([r.place for r in removed if r.wrong is wrong], edges)[0] / sequences
                panel.bar(edges[:-1], heights, width * 0.9, below, align="edge", color=colour, label=f"{name} token")
                below += heights
            wrong = sum(r.wrong for r in removed)
            panel.set_title(f"{label(variant)}\n{wrong} of {len(removed)} of a wrong token")
            if not removed:
                panel.text(0.5, 0.5, "no backspace", transform=panel.transAxes, ha="center", color=SOFT)
            panel.grid(axis="x", visible=False)
        for panel in grid.flat[len(found) :]:
            panel.set_axis_off()
        for panel in grid[:, 0]:
            panel.set_ylabel("backspaces per sequence")
        for panel in grid[-1]:
            panel.set_xlabel("place in the completion")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
