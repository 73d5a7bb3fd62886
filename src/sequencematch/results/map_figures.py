"""The map's figures: a summary, a figure per axis, and the cost of answers."""

from collections.abc import Sequence
from pathlib import Path

from sequencematch.results.estimates import Effect, Place
from sequencematch.results.figures import Dot, Panel, plot_dots
from sequencematch.results.map_page import role_label
from sequencematch.results.series import RULE, colours_of
from sequencematch.results.theme import GRID, SOFT, drawing, key, legend, title
from sequencematch.results.words import capital, decoding_label, without_marks
from sequencematch.settings.decoding_names import RULES, decoding_options
from sequencematch.settings.map import COLUMNS, DEFAULT, MINUS, Map, column_of

NOTE = "Paired differences in points (accuracy in %, or BLEU): dots: mean; bars: 95% interval, unadjusted; {}."
PALE = "pale: not significant after the correction for all comparisons of the map"
# Rows of the summary where the map names none; and beyond how many times the median cost the x axis is cut.
SUMMARISED, CUT = 8, 1.6
GAIN = 0.5  # points by which a decoding must beat every cheaper one to be named


def plot_axis(described: Map, name: str, found: Sequence[Effect], seeds: int, path: Path) -> None:
    """The differences to the first role along an axis: a panel per reading, a row per cell."""
    here = [effect for effect in found if effect.axis == name]
    panels = [
        Panel(_label(reading), _axis_label(described), _dots(described, chosen), 0.0)
        for reading in dict.fromkeys(effect.reading for effect in here)
        if (chosen := [(effect.at, effect) for effect in here if effect.reading == reading])
    ]
    plot_dots(panels, capital(without_marks(described.axes[name].title)), _note(here, seeds), path)


def plot_summary(described: Map, found: Sequence[Effect], seeds: int, path: Path) -> None:
    """The cells that ``described.summary`` names, or the first ones: a panel per column."""
    places = described.summary or {f"{effect.axis}: {effect.at}": f"{effect.axis}/{effect.at}" for effect in found}
    labels = {place: label for label, place in list(places.items())[: len(described.summary) or SUMMARISED]}
    panels = []
    for column in COLUMNS:
        chosen: dict[tuple[str, str], Effect] = {}
        for effect in found:
            place = f"{effect.axis}/{effect.at}"
            if place in labels and effect.column == column:
                chosen.setdefault((labels[place], effect.quantity), effect)  # the first reading of the column
        dots = _dots(described, [(label, effect) for (label, _), effect in chosen.items()])
        if dots:
            panels.append(Panel(column, _axis_label(described), dots, 0.0))
    shown = {dot.row for panel in panels for dot in panel.dots}
    rows = [row for row in map(without_marks, labels.values()) if row in shown]
    plot_dots(panels, without_marks(described.title), _note(found, seeds), path, rows)


def _first(described: Map) -> str:
    """The role that the other roles are compared with."""
    return next(iter(described.methods))


def _axis_label(described: Map) -> str:
    return f"difference to {role_label(_first(described))}, points"


def _note(found: Sequence[Effect], seeds: int) -> str:
    return NOTE.format(f"{seeds} seeds, {found[0].found.n} questions; {PALE}")


def _dots(described: Map, placed: Sequence[tuple[str, Effect]]) -> list[Dot]:
    """The differences of each role to the first one; and of the first one with a rule that deletes, to itself."""
    first, colours = _first(described), colours_of(described.methods)
    series = {f"{role}{MINUS}{first}": (role_label(role), colours[role]) for role in described.methods if role != first}
    dots = []
    for row, effect in placed:
        if effect.quantity in series:
            dots.append(_dot(row, *series[effect.quantity], effect))
        elif effect.quantity == f"{first}{MINUS}{DEFAULT}" and _has_rule(effect.found.where.decoding):
            dots.append(_dot(row, f"{role_label(first)} with the takeback rule vs. without", colours[RULE], effect))
    return dots


def _dot(row: str, series: str, colour: str, effect: Effect) -> Dot:
    found = effect.found
    return Dot(without_marks(row), series, found.mean, found.low, found.high, colour, faint=not found.significant)


def _has_rule(decoding: str) -> bool:
    return any(name in decoding_options(decoding) for name in RULES)


def plot_cost(described: Map, found: Sequence[Effect], path: Path) -> None:
    """The default cell's models in every decoding: points against tokens written per answer, a panel per reading.

    Labels mark the Pareto front. Those that cost far more than the median are named with their cost at
    the right edge.
    """
    colours = colours_of(described.methods)
    sides = default_sides(described, found)
    costs = sorted(effect.costs["pushes_per_sequence"] for effect in sides.values())
    cut = CUT * costs[len(costs) // 2]
    columns = min(2, len(described.readings))
    rows = -(-len(described.readings) // columns)
    with drawing(path, columns, rows, 4.5, 3.1) as (figure, grid):
        for place, reading in zip(grid.flat, described.readings, strict=False):
            shown = decoded_like(reading, sides)
            for side, effect in shown.items():
                default, cost = side.decoding == reading, effect.costs["pushes_per_sequence"]
                look = {"markersize": 9 if default else 4.5, "color": colours[effect.quantity]}
                look |= {} if default else {"markerfacecolor": "white"}
                place.plot(min(cost, cut), effect.found.mean, ">" if cost > cut else "o", **look)
            place.set_title(_label(reading), loc="left")
            place.set(xlabel="tokens written per answer", ylabel="points")
            _name(place, _named(shown, reading, cut), cut)
        for place in grid.flat[len(described.readings) :]:
            place.set_axis_off()
        handles = [key(role_label(role), colours[role]) for role in described.methods]
        handles.append(key("default decoding", SOFT, markersize=9))
        legend(figure, [*handles, key("another decoding", SOFT, markerfacecolor="white")])
        title(figure, "Points against the cost of an answer: the default cell's models in every decoding")


def _named(shown: dict[Place, Effect], reading: str, cut: float) -> list[tuple[float, float, str]]:
    """The decodings to name: cost (at most ``cut``), points, and a label without what the reading's name says."""
    found, best = [], float("-inf")
    for side, effect in sorted(shown.items(), key=lambda item: item[1].costs["pushes_per_sequence"]):
        cost, points = effect.costs["pushes_per_sequence"], effect.found.mean
        own = [part for part in side.decoding.split("+") if part not in reading.split("+")]
        label = f"{role_label(effect.quantity)} {_label('+'.join(own)) if own else 'default'}"
        if cost > cut:
            found.append((cut, points, f"{label}: {cost:.1f} tokens"))
        elif points >= best + GAIN:
            found.append((cost, points, label))
            best = points
    return found


def _name(place, named: Sequence[tuple[float, float, str]], cut: float) -> None:
    """Labels in a column right of the points, none upon another, each joined to its point by a thin line."""
    low, high = place.get_ylim()
    step, top = (high - low) * 0.062, high
    left, edge = place.get_xlim()[0], max(place.get_xlim()[1], cut)
    x = edge + 0.06 * (edge - left)
    for cost, points, label in sorted(named, key=lambda item: -item[1]):
        y = min(points, top - step / 2)
        top = y - step / 2
        place.plot([cost, x], [points, y], color=GRID, linewidth=0.7, zorder=0)
        place.text(x, y, label, fontsize=7, va="center", color=SOFT)
    place.set(xlim=(left, edge + 0.95 * (edge - left)), ylim=(min(low, top), high))
    place.set_xticks([tick for tick in place.get_xticks() if left <= tick <= edge])


def default_sides(described: Map, found: Sequence[Effect]) -> dict[Place, Effect]:
    """The scores of the default cell's own models, each decoding once."""
    sides: dict[Place, Effect] = {}
    for effect in found:
        side = effect.found.where
        default = (described.task, described.methods.get(effect.quantity))  # none of a difference
        if (side.task, side.method) == default and side.eta in (0, described.eta):
            sides[side] = effect
    return sides


def decoded_like(reading: str, sides: dict[Place, Effect]) -> dict[Place, Effect]:
    """The sides with the decoding of a reading or an extension of it: equally perturbed, and both greedy or neither."""

    def kind(decoding: str) -> tuple[str, set[str]]:
        return column_of(decoding), {part for part in decoding.split("+") if part.startswith("perturbed")}

    return {side: effect for side, effect in sides.items() if kind(side.decoding) == kind(reading)}


def _label(decoding: str) -> str:
    return without_marks(decoding_label(decoding))
