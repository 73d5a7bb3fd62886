"""Figures of costs: the parts of a step as stacked bars, and how a step's cost grows with length and batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sequencematch.results.costs import LABELS, OURS, PART_LABELS, medians, ordered, parts_of
from sequencematch.results.estimates import Estimate
from sequencematch.results.measured import Measured
from sequencematch.results.theme import COLOURS, INK, SOFT, drawing, key, legend, title, wrapped

VISIBLE = 0.03  # a part below this share of every step is not drawn
THEIRS = 0.5  # opacity of the rows that are not ours


def plot_parts(costs: Sequence[Estimate], heading: str, path: Path) -> None:
    """A bar per row that stacks its parts in milliseconds, and a panel per case. A mark shows the token floor.

    Rows are ordered from the naive way to ours. Our rows have full colour and bold names.
    """
    cases = list(dict.fromkeys(cost.where.task for cost in costs))
    rows = ordered(list(dict.fromkeys(cost.where.method for cost in costs)))
    parts = {(case, row): parts_of(costs, case, row) for case in cases for row in rows}
    drawn = {part: colour for part, colour in zip(PART_LABELS, COLOURS, strict=False) if _visible(part, parts)}
    with drawing(path, len(cases), 1, 9.0 / len(cases), 0.9 + 0.34 * len(rows), sharey=True) as (figure, grid):
        for panel, case in zip(grid[0], cases, strict=True):
            of = medians(costs, case)
            for place, row in enumerate(rows):
                left = 0.0
                for part, colour in drawn.items():
                    width = 1e3 * max(0.0, parts[case, row][part])
                    panel.barh(place, width, 0.6, left, color=colour, alpha=1 if row in OURS else THEIRS)
                    left += width
                floor = 1e3 * of[row, "token_floor"] * of["mle", "step"]
                panel.plot([floor] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=1.2)
                text = f" {of[row, 'amortised_ratio']:.2f} x"
                panel.text(max(left, floor), place, text, va="center", color=INK if row in OURS else SOFT)
            panel.set_title(case, loc="left")
            panel.set_xlabel("milliseconds per amortised step")
            panel.set_yticks(range(len(rows)), [wrapped(LABELS[row], 26) for row in rows], color=INK)
            panel.margins(x=0.14)
            panel.grid(axis="y", visible=False)
        for name, row in zip(grid[0][0].get_yticklabels(), rows, strict=True):
            name.set_fontweight("bold" if row in OURS else "normal")
        grid[0][0].invert_yaxis()
        handles = [key(PART_LABELS[part], colour, marker="s", markersize=7) for part, colour in drawn.items()]
        legend(figure, [*handles, key("token floor", INK, marker="|", markersize=10)])
        title(figure, heading, "Medians. Numbers at the bars: times the MLE step of the same repeat. Bold: ours.")


def _visible(part: str, parts: dict[tuple[str, str], dict[str, float]]) -> bool:
    return any(of_row[part] > VISIBLE * sum(of_row.values()) for of_row in parts.values())


def plot_growth(measured: Measured, heading: str, path: Path) -> None:
    """Median step time of each row over lengths and over batches.

    Below: the ratio to the step of MLE, and the token floors.
    """
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
        handles, dotted = (panel.get_legend_handles_labels()[0] for panel in (top, bottom))
        legend(figure, [*handles, *dotted])
        title(figure, heading, "Medians.")


def _median(values: np.ndarray) -> float:
    return float(np.median(values))
