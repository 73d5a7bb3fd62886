"""The map's figures: one per axis, what answering costs, and all differences in one picture."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sequencematch.map.effects import Effect, differences
from sequencematch.map.page import quantity_label, role_label
from sequencematch.settings.decodings import RULES, decoding_options
from sequencematch.settings.map import COLUMNS, PLAIN, Map, Side, column_of
from sequencematch.tables.scores_figure import COLOURS, GREY, STYLE, save
from sequencematch.tables.wording import decoding_label, number

# Differences of so many points and more have the full colour; and the gap between the summary's columns.
FULL, GAP = 15, 0.4


def colours_of(described: Map) -> dict[str, str]:
    """A colour for each role, grey for the first, against which the others stand."""
    return dict(zip(described.methods, itertools.cycle((GREY, *COLOURS)), strict=False))


def plot_axis(described: Map, name: str, found: Sequence[Effect], path: Path) -> None:
    """Scores of each role along an axis, and their differences to the first role below, a column per reading."""
    import matplotlib.pyplot as plt

    here = [effect for effect in found if effect.reading.axis == name]
    readings = list(dict.fromkeys(effect.reading.name for effect in here))
    places = list(dict.fromkeys(effect.reading.at for effect in here))
    first, *others = described.methods
    colours = colours_of(described)
    with plt.rc_context(STYLE):
        width = max(2.2, 0.55 * len(places) + 0.8)
        size = (width * len(readings) + 0.6, 5.2)
        figure, grid = plt.subplots(
            2, len(readings), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
        )
        for (top, below), reading in zip(grid.T, readings, strict=True):
            chosen = [effect for effect in here if effect.reading.name == reading]
            for i, role in enumerate(described.methods):
                _series(top, [e for e in chosen if e.quantity == role], places, i, colours[role])
            for i, role in enumerate(others, start=1):
                wanted = [e for e in chosen if e.quantity == f"{role}_minus_{first}"]
                _series(below, wanted, places, i, colours[role])
            below.axhline(0, color=GREY, linewidth=0.8)
            below.set_xticks(range(len(places)), places, rotation=30, ha="right")
            top.set_title(_plain(reading))
            for panel in (top, below):
                panel.grid(axis="y", color="#dddddd", linewidth=0.6)
        grid[0, 0].set_ylabel("points")
        grid[1, 0].set_ylabel(f"minus {role_label(first)}")
        handles = [plt.Line2D([], [], marker="o", color=c, label=role_label(role)) for role, c in colours.items()]
        hollow = {"marker": "o", "linestyle": "none", "mfc": "white", "color": GREY}
        handles.append(plt.Line2D([], [], label="does not stand after correction", **hollow))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        figure.suptitle(f"{described.axes[name].title}: mean, 95% interval; paired differences below", fontsize=9)
        save(figure, path)


def _series(panel, effects: Sequence[Effect], places: Sequence[str], offset: int, colour: str) -> None:
    """Means with intervals; differences that do not stand after the correction are hollow."""
    x = np.array([places.index(effect.reading.at) for effect in effects]) + 0.09 * (offset - 1)
    panel.plot(x, [effect.found.mean for effect in effects], color=colour, linewidth=1, alpha=0.5)
    for at, effect in zip(x, effects, strict=True):
        filled = effect.p is None or effect.stands
        panel.plot([at] * 2, [effect.found.low, effect.found.high], color=colour, linewidth=1.4)
        panel.plot(at, effect.found.mean, "o", color=colour, markersize=4.5, mfc=colour if filled else "white")


def plot_summary(described: Map, found: Sequence[Effect], path: Path) -> None:
    """Every difference as a square, in two halves: rows are cells, columns decodings and pairs of roles."""
    import matplotlib.pyplot as plt

    compared = [e for e in found if e.p is not None and not e.quantity.endswith(PLAIN)]
    quantities = list(dict.fromkeys(effect.quantity for effect in compared))
    squares = by_place(compared)
    halves = _halves(described, list(dict.fromkeys(row for row, _ in squares)))
    height = max(len(rows) + len({row.axis for row in rows}) for rows in halves)
    with plt.rc_context(STYLE | {"font.size": 7}):
        figure, panels = plt.subplots(1, 2, figsize=(17, 1.4 + 0.19 * height), layout="constrained")
        for panel, rows in zip(panels, halves, strict=True):
            places = _write_rows(panel, described, rows)
            _write_columns(panel, quantities)
            for (row, column), effects in squares.items():
                for effect in effects if row in places else ():
                    x = COLUMNS.index(column) * (len(quantities) + GAP) + quantities.index(effect.quantity)
                    _square(panel, x, places[row], effect)
            panel.set(xlim=(0, len(COLUMNS) * (len(quantities) + GAP)), ylim=(height + 0.3, -2.2))
            panel.set_axis_off()
        figure.suptitle(
            "Paired differences in points (accuracy in %, or BLEU). Blue: the first is above; red: below; framed and "
            f"bold: stands when corrected for all {len(differences(found))} comparisons",
            fontsize=9,
        )
        save(figure, path, dpi=100)  # hundreds of squares: at 160 it is a file of 1 MB


@dataclass(frozen=True)
class Row:
    """A row of the summary: a cell, and its reading where several of the cell share a column."""

    axis: str
    at: str
    reading: str

    @property
    def label(self) -> str:
        return f"{self.at}, {_plain(self.reading)}" if self.reading else self.at


def by_place(compared: Sequence[Effect]) -> dict[tuple[Row, str], list[Effect]]:
    """The differences by their row in the summary and their column."""
    found: dict[tuple[Row, str], list[Effect]] = {}
    sharing: dict[tuple[str, str, str], list[str]] = {}
    for effect in compared:
        reading = effect.reading
        readings = sharing.setdefault((reading.axis, reading.at, reading.column), [])
        if reading.name not in readings:
            readings.append(reading.name)
        row = Row(reading.axis, reading.at, "" if readings[0] == reading.name else reading.name)
        found.setdefault((row, reading.column), []).append(effect)
    return found


def _halves(described: Map, rows: Sequence[Row]) -> list[list[Row]]:
    """The rows in two parts of about equal length, no axis cut in two."""
    halves: list[list[Row]] = [[], []]
    for name in described.axes:
        halves[len(halves[0]) >= len(rows) / 2].extend(row for row in rows if row.axis == name)
    return halves


def _write_rows(panel, described: Map, rows: Sequence[Row]) -> dict[Row, int]:
    """Labels of rows, under the title of their axis; where each row is."""
    places: dict[Row, int] = {}
    for name, group in itertools.groupby(rows, key=lambda row: row.axis):
        top = max(places.values(), default=-1) + 1
        panel.text(-0.1, top + 0.45, described.axes[name].title, ha="right", va="center", fontweight="bold")
        places |= {row: y for y, row in enumerate(group, start=top + 1)}
    for row, y in places.items():
        panel.text(-0.1, y + 0.45, row.label, ha="right", va="center")
    return places


def _write_columns(panel, quantities: Sequence[str]) -> None:
    for i, column in enumerate(COLUMNS):
        left = i * (len(quantities) + GAP)
        panel.text(left + len(quantities) / 2, -1.5, column, ha="center", fontweight="bold")
        for j, quantity in enumerate(quantities):
            panel.text(left + j + 0.48, -0.4, quantity_label(quantity), ha="center")


def _square(panel, x: float, y: float, effect: Effect) -> None:
    """A difference: coloured by its size, and framed where it stands."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    mean = effect.found.mean
    shade = plt.get_cmap("RdBu")(0.5 + 0.5 * float(np.clip(mean / FULL, -1, 1)))
    panel.add_patch(Rectangle((x, y), 0.96, 0.9, color=shade, linewidth=0))
    ink = "white" if abs(mean) > 0.7 * FULL else "black"
    weight = {"fontweight": "bold"} if effect.stands else {"alpha": 0.75}
    text = f"{'+' if round(mean, 1) > 0 else ''}{number(mean, 1)}"
    panel.text(x + 0.48, y + 0.45, text, ha="center", va="center", color=ink, **weight)
    if effect.stands:
        panel.add_patch(Rectangle((x + 0.02, y + 0.03), 0.92, 0.84, fill=False, edgecolor="black", linewidth=0.9))


def plot_cost(described: Map, found: Sequence[Effect], path: Path) -> None:
    """The default cell's models in every decoding: points against tokens written per answer, a panel per reading."""
    import matplotlib.pyplot as plt

    colours = colours_of(described)
    with plt.rc_context(STYLE):
        columns = len(described.readings)
        figure, grid = plt.subplots(1, columns, figsize=(3.6 * columns, 4.6), squeeze=False, layout="constrained")
        for panel, reading in zip(grid[0], described.readings, strict=True):
            for side, effect in decoded_like(reading, default_sides(described, found)).items():
                x, y = effect.costs["pushes_per_sequence"], effect.found.mean
                shape, size = (CIRCLE, 10) if side.decoding == reading else (shape_of(side.decoding), 5)
                panel.plot(x, y, shape, color=colours[effect.quantity], markersize=size, mec="white", mew=0.5)
            panel.set(title=_plain(reading), xlabel="tokens written per answer", xscale="log")
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter("{x:g}")
            panel.grid(color="#dddddd", linewidth=0.6)
        grid[0, 0].set_ylabel("points")
        handles = [_key(CIRCLE, role_label(role), colour, 8) for role, colour in colours.items()]
        handles += [_key(shape, label, GREY, 5) for shape, label in {s: label for s, label in SHAPES.values()}.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        figure.suptitle("What an answer costs: the default cell's models, plainly (large) and otherwise", fontsize=9)
        save(figure, path)


CIRCLE = "o"
TRUNCATED, DIALS = ("D", "temperature, truncation"), ("s", "dials on <bkspc>")
# What is done besides, and the shape that stands for it.
SHAPES = {
    **dict.fromkeys(("temperature", "top_p", "min_p", "rejection"), TRUNCATED),
    **dict.fromkeys(("bkspc_bias", "surprise"), DIALS),
    **dict.fromkeys(RULES, ("^", "unlikely tokens taken back")),
    "best_of": ("*", "the likeliest of several"),
    "majority": ("P", "the most frequent of several"),
}


def shape_of(decoding: str) -> str:
    """Of what a decoding does besides being greedy or disturbed, the last."""
    return next((SHAPES[key][0] for key in reversed(decoding_options(decoding)) if key in SHAPES), CIRCLE)


def _key(shape: str, label: str, colour: str, size: float):
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=shape, linestyle="none", color=colour, label=label, markersize=size)


def default_sides(described: Map, found: Sequence[Effect]) -> dict[Side, Effect]:
    """The scores of the default cell's own models, each decoding once."""
    own = {(described.task, method): role for role, method in described.methods.items()}
    sides = {}
    for effect in found:
        side = effect.reading.sides.get(effect.quantity)
        if side and own.get((side.task, side.method)) == effect.quantity and side.eta in (0, described.eta):
            sides[side] = effect
    return sides


def decoded_like(reading: str, sides: dict[Side, Effect]) -> dict[Side, Effect]:
    """The sides decoded as a reading or with something besides: disturbed alike, and greedily or not."""

    def kind(decoding: str) -> tuple[str, set[str]]:
        return column_of(decoding), {part for part in decoding.split("+") if part.startswith("perturbed")}

    return {side: effect for side, effect in sides.items() if kind(side.decoding) == kind(reading)}


def _plain(name: str) -> str:
    """A decoding's label without the marks of Markdown."""
    return decoding_label(name).replace("`", "")
