"""Figure: where backspaces fall in a completion, and whether the tokens that they delete were wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sequencematch.results.deletions import Removal
from sequencematch.results.theme import BLUE, GREEN, ORANGE, SOFT, drawing, legend, wrapped
from sequencematch.results.variants import Variant

BARS = 24  # bars at most; each may hold several places


def plot_backspaces(found: Mapping[Variant, tuple[int, Sequence[Removal]]], path: Path, known: bool) -> None:
    """A panel per variant; ``found`` holds the number of its sequences, and all their removals.

    known: whether the reference says which deleted tokens were wrong, so that they can be counted by that.
    """
    kinds = {"wrong token": GREEN, "right token": ORANGE} if known else {"deleted token": BLUE}
    deepest = max((r.place for _, removed in found.values() for r in removed), default=0)
    width = deepest // BARS + 1
    edges = np.arange(0, deepest + width + 1, width)
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    with drawing(path, columns, rows, 2.4, 2.1, sharex=True, sharey=True) as (figure, grid):
        for panel, (variant, (sequences, removed)) in zip(grid.flat, found.items(), strict=False):
            below = np.zeros(len(edges) - 1)
            for kind, colour in kinds.items():
                places = [r.place for r in removed if not known or r.wrong == (kind == "wrong token")]
                heights = np.histogram(places, edges)[0] / sequences
                panel.bar(edges[:-1], heights, width * 0.9, below, align="edge", color=colour, label=kind)
                below += heights
            wrong = f"{sum(r.wrong for r in removed)} of {len(removed)} of a wrong token"
            count = wrong if known else f"{len(removed)} in all"
            panel.set_title(f"{wrapped(variant.name, 22)}\n{wrapped(count, 28)}")
            if not removed:
                panel.text(0.5, 0.5, "no backspace", transform=panel.transAxes, ha="center", color=SOFT)
            panel.grid(axis="x", visible=False)
            panel.tick_params(labelleft=True, labelbottom=True)  # a narrow page shows each panel by itself
        for panel in grid.flat[len(found) :]:
            panel.set_axis_off()
        for panel in grid[:, 0]:
            panel.set_ylabel("backspaces per sequence")
        for panel in grid[-1]:
            panel.set_xlabel("place in the completion")
        legend(figure, grid[0][0].get_legend_handles_labels()[0])
