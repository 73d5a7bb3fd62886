"""The map's figures: one per axis, what answering costs, and all differences in one picture."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sequencematch.figures import COLOURS, GREY, STYLE, save
from sequencematch.map_cells import COLUMNS, Map, Side, column_of
from sequencematch.map_effects import Effect, differences
from sequencematch.map_page import quantity_label, role_label
from sequencematch.wording import decoding_label, number

# Differences of so many points and more have the full colour.
FULL = 15


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
    """Every difference as a square: rows are cells, columns decodings and pairs of roles; framed where it stands."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    compared = [effect for effect in found if effect.p is not None]
    quantities = list(dict.fromkeys(effect.quantity for effect in compared))
    rows = _rows(compared)
    height = 0.19
    with plt.rc_context(STYLE | {"font.size": 7}):
        gaps = len(described.axes)
        size = (9.5, 1.3 + height * (len(rows) + gaps))
        figure, panel = plt.subplots(figsize=size, layout="constrained")
        colours = plt.get_cmap("RdBu")
        places, y, last = {}, 0, None
        for row in rows:
            if row[0] != last:
                panel.text(-0.1, y + 0.45, described.axes[row[0]].title, ha="right", va="center", fontweight="bold")
                y, last = y + 1, row[0]
            places[row] = y
            panel.text(-0.1, y + 0.45, _row_label(*row[1:]), ha="right", va="center")
            y += 1
        for (row, column), effects in rows_and_columns(compared).items():
            for effect in effects:
                x = COLUMNS.index(column) * (len(quantities) + 0.4) + quantities.index(effect.quantity)
                mean = effect.found.mean
                shade = colours(0.5 + 0.5 * float(np.clip(mean / FULL, -1, 1)))
                panel.add_patch(Rectangle((x, places[row]), 0.96, 0.9, color=shade, linewidth=0))
                dark = abs(mean) > 0.7 * FULL
                weight = {"fontweight": "bold"} if effect.stands else {"alpha": 0.75}
                text = f"{'+' if round(mean, 1) > 0 else ''}{number(mean, 1)}"
                ink = "white" if dark else "black"
                panel.text(x + 0.48, places[row] + 0.45, text, ha="center", va="center", color=ink, **weight)
                if effect.stands:
                    frame = {"fill": False, "edgecolor": "black", "linewidth": 0.9}
                    panel.add_patch(Rectangle((x + 0.02, places[row] + 0.03), 0.92, 0.84, **frame))
        for i, column in enumerate(COLUMNS):
            left = i * (len(quantities) + 0.4)
            panel.text(left + len(quantities) / 2, -1.5, column, ha="center", fontweight="bold")
            for j, quantity in enumerate(quantities):
                panel.text(left + j + 0.48, -0.4, quantity_label(quantity), ha="center")
        panel.set(xlim=(0, len(COLUMNS) * (len(quantities) + 0.4)), ylim=(y + 0.3, -2.2))
        panel.set_axis_off()
        figure.suptitle(
            "Paired differences in points (accuracy in %, or BLEU); blue: the first is above, red: below;\n"
            f"framed and bold: stands when corrected for all {len(differences(compared))} comparisons",
            fontsize=8,
        )
        save(figure, path)


def rows_and_columns(compared: Sequence[Effect]) -> dict[tuple, list[Effect]]:
    """The differences by place in the summary: row (axis, cell, reading where several share a column), and column."""
    found: dict[tuple, list[Effect]] = {}
    readings: dict[tuple, list[str]] = {}
    for effect in compared:
        reading = effect.reading
        sharing = readings.setdefault((reading.axis, reading.at, reading.column), [])
        if reading.name not in sharing:
            sharing.append(reading.name)
        row = (reading.axis, reading.at, "" if sharing[0] == reading.name else reading.name)
        found.setdefault((row, reading.column), []).append(effect)
    return found


def _rows(compared: Sequence[Effect]) -> list[tuple]:
    return list(dict.fromkeys(row for row, _ in rows_and_columns(compared)))


def _row_label(at: str, reading: str) -> str:
    return f"{at}, {_plain(reading)}" if reading else at


def plot_cost(described: Map, found: Sequence[Effect], path: Path) -> None:
    """The default cell's models in every decoding: points against tokens written per answer, a panel per reading."""
    import matplotlib.pyplot as plt

    colours = colours_of(described)
    with plt.rc_context(STYLE):
        columns = len(described.readings)
        figure, grid = plt.subplots(1, columns, figsize=(4.4 * columns, 4.6), squeeze=False, layout="constrained")
        for panel, reading in zip(grid[0], described.readings, strict=True):
            for side, effect in decoded_like(reading, default_sides(described, found)).items():
                x, colour = effect.costs["pushes_per_sequence"], colours[effect.quantity]
                plain = side.decoding == reading
                panel.plot([x] * 2, [effect.found.low, effect.found.high], color=colour, linewidth=0.8, alpha=0.4)
                panel.plot(x, effect.found.mean, "o", color=colour, markersize=7 if plain else 3.5)
                label = "" if plain else _plain("+".join(p for p in side.decoding.split("+") if p not in reading))
                panel.annotate(label, (x, effect.found.mean), xytext=(3, 2), textcoords="offset points", fontsize=5.5)
            panel.set(title=_plain(reading), xlabel="tokens written per answer", xscale="log")
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter("{x:g}")
            panel.grid(color="#dddddd", linewidth=0.6)
        grid[0, 0].set_ylabel("points")
        handles = [
            plt.Line2D([], [], marker="o", linestyle="none", color=colour, label=role_label(role))
            for role, colour in colours.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        figure.suptitle("What an answer costs: the default cell's models, every decoding (large: plain)", fontsize=9)
        save(figure, path)


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
