"""The map as a page and as figures, and the numbers of the kept map that docs/map.md quotes.

docs/map_numbers.csv has a line for each number of that page that stands on the map, in the order of the text: the
number as it is written, and its place. So the page holds plain numbers, and can be edited.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.results.estimates import LEVEL, Effect, Place, csv_text, read_map
from sequencematch.results.figures import Dot, Panel, plot_dots
from sequencematch.results.measure_map import differences
from sequencematch.results.pages import Page
from sequencematch.results.theme import GRID, SOFT, drawing, key, legend, title
from sequencematch.results.variants import RULE, colours_of
from sequencematch.results.words import (
    INTERVAL,
    Grid,
    capital,
    decoding_label,
    enumerated,
    number,
    plain,
    signed,
    signed_bold,
    span,
    without_marks,
)
from sequencematch.settings.decoding_names import RULES, decoding_options
from sequencematch.settings.map import COLUMNS, DEFAULT, MINUS, Map, Reading, column_of
from sequencematch.store.files import read_csv

# How a difference comes out: significant after the correction, by its own interval only, or not.
OUTCOMES = ("better", "better, uncorrected", "not significant", "worse, uncorrected", "worse")


def map_page(described: Map, effects: Sequence[Effect], seeds: Sequence[int], missing: Sequence[Reading] = ()) -> Page:
    """``missing``: cells that are on the map, but not measured yet."""
    absent = []
    for axis in dict.fromkeys(reading.axis for reading in missing):
        places = dict.fromkeys(reading.at for reading in missing if reading.axis == axis)
        absent.append(f"{described.axes[axis].title} ({', '.join(places)})")
    axes = []
    for name in dict.fromkeys(effect.axis for effect in effects):
        here = [effect for effect in effects if effect.axis == name]
        of_axis = {"name": name, "title": described.axes[name].title, "grid": _grid(described, here)}
        axes.append({**of_axis, "sentences": list(sentences(here))})
    content = {
        "caption": _caption(described, effects, seeds),
        "glance": glance(effects),
        "corrections": _corrections(effects),
        "absent": "; ".join(absent),
        "all_differences": all_differences(described, effects),
        "axes": axes,
    }
    return Page("map.md.j2", described.title, content)


def _caption(described: Map, effects: Sequence[Effect], seeds: Sequence[int]) -> str:
    default = ", ".join(f"{role_label(role)}: `{method}`" for role, method in described.methods.items())
    return (
        f"Default cell: task `{described.task}` at η = {described.eta:g} ({default}); {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}), {effects[0].found.n} questions. Scores are points: accuracy in per cent, or "
        "BLEU. Intervals are 95% bootstrap intervals over seeds and questions, corrected for few seeds. Tokens are "
        "those written per answer, which is what decoding costs: deleted ones and answers not chosen are included."
    )


def _corrections(effects: Sequence[Effect]) -> str:
    """How many comparisons are significant."""
    compared = differences(effects)
    return (
        f"{len(compared)} paired comparisons were made. {sum(effect.found.significant for effect in compared)} of them "
        f"are significant at a false discovery rate of {LEVEL:.0%} (Benjamini and Hochberg)."
    )


def glance(effects: Sequence[Effect]) -> Grid:
    """How many comparisons of each kind had each outcome."""
    compared = differences(effects)
    rows = []
    for quantity in dict.fromkeys(effect.quantity for effect in compared):
        for column in COLUMNS:
            chosen = [e for e in compared if (e.quantity, e.column) == (quantity, column)]
            counts = Counter(map(outcome_of, chosen))
            if chosen:
                rows.append([quantity_label(quantity), column, *(str(counts[outcome]) for outcome in OUTCOMES)])
    return Grid(["pair", "decoding", *OUTCOMES], rows)


def outcome_of(effect: Effect) -> str:
    """One of ``OUTCOMES``."""
    found = effect.found
    if found.significant:
        return "better" if found.mean > 0 else "worse"
    if found.low is not None and found.low > 0:
        return "better, uncorrected"
    return "worse, uncorrected" if found.high is not None and found.high < 0 else "not significant"


def all_differences(described: Map, effects: Sequence[Effect]) -> Grid:
    """A line per cell, and in it every difference between roles, without its interval.

    Where several readings of a cell share a column, each but the first has a line of its own.
    """
    compared = [effect for effect in effects if effect.found.against and not effect.quantity.endswith(DEFAULT)]
    quantities = list(dict.fromkeys(effect.quantity for effect in compared))
    columns = [(column, quantity) for column in COLUMNS for quantity in quantities]
    first: dict[tuple[str, str, str], str] = {}
    lines: dict[str, dict[tuple[str, str], Effect]] = {}
    for effect in compared:
        alone = first.setdefault((effect.axis, effect.at, effect.column), effect.reading) == effect.reading
        cell = f"{described.axes[effect.axis].title}: {effect.at}"
        cell += "" if alone else f", {decoding_label(effect.reading)}"
        lines.setdefault(cell, {})[effect.column, effect.quantity] = effect
    rows = [
        [cell, *(signed_bold(row[place].found if place in row else None) for place in columns)]
        for cell, row in lines.items()
    ]
    return Grid(["cell", *(f"{quantity_label(quantity)}, {column}" for column, quantity in columns)], rows)


def _grid(described: Map, here: Sequence[Effect]) -> Grid:
    """A row per cell and reading: scores, differences with their intervals, tokens."""
    by_place = {(e.at, e.reading, e.quantity): e for e in here}
    roles = list(described.methods)
    named = dict.fromkeys(e.quantity for e in here if e.found.against)
    quantities = sorted(named, key=lambda quantity: quantity.endswith(DEFAULT))
    rows = []
    for at, reading in dict.fromkeys((e.at, e.reading) for e in here):
        scores = [effect for role in roles if (effect := by_place.get((at, reading, role)))]
        compared = [by_place.get((at, reading, quantity)) for quantity in quantities]
        found = [effect.found if effect else None for effect in compared]
        tokens = [number(effect.costs["pushes_per_sequence"], 2) for effect in scores]
        numbers = [write(one) for one in found for write in (signed_bold, span)]
        rows.append([at, decoding_label(reading), *(plain(effect.found) for effect in scores), *numbers, *tokens])
    labels = [*map(role_label, roles), *(text for q in quantities for text in (quantity_label(q), INTERVAL))]
    return Grid(["cell", "decoding", *labels, *(f"tokens, {role_label(role)}" for role in roles)], rows)


def sentences(here: Sequence[Effect]) -> Iterator[str]:
    """'SM vs. MLE, sampled: significantly better at a (+1.2) and b (+2.0); not significant at c', for each reading."""
    for quantity, reading in dict.fromkeys((e.quantity, e.reading) for e in here if e.found.against):
        chosen = [e for e in here if (e.quantity, e.reading) == (quantity, reading)]
        places: dict[str, list[str]] = {}
        for effect in chosen:
            outcome = outcome_of(effect)
            said = f"significantly {outcome}" if outcome in ("better", "worse") else "not significant"
            size = f" ({signed(effect.found)})" if effect.found.significant else ""
            places.setdefault(said, []).append(effect.at + size)
        if len(places) == 1 and len(chosen) > 1:
            sizes = sorted(chosen, key=lambda effect: effect.found.mean)
            text = f"{next(iter(places))} in every cell ({signed(sizes[0].found)} to {signed(sizes[-1].found)})"
        else:
            text = "; ".join(f"{said} at {enumerated(ats)}" for said, ats in places.items())
        yield f"{quantity_label(quantity)}, {decoding_label(reading)}: {text}"


def role_label(role: str) -> str:
    return role.upper()


def quantity_label(quantity: str) -> str:
    """'SM vs. MLE' for 'sm_minus_mle', 'SM vs. default' for a difference to the default cell."""
    first, second = quantity.split(MINUS)
    return f"{role_label(first)} vs. {'default' if second == DEFAULT else role_label(second)}"


# ---- figures ----------------------------------------------------------------------------------------

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


# ---- what docs/map.md quotes ------------------------------------------------------------------------

PLACE = ("axis", "at", "reading", "quantity")


def quote_map(page: Path, numbers: Path, kept: Path) -> dict[Path, str]:
    """What the page and its file of numbers say with the map in the folder ``kept``."""
    text, rows = with_numbers(page.read_text(), read_csv(numbers), read_map(kept / "map.csv"))
    return {page: text, numbers: csv_text(rows)}


def with_numbers(text: str, rows: Sequence[Mapping[str, str]], effects: Sequence[Effect]) -> tuple[str, list[dict]]:
    """A text and the lines of its numbers, both as the map has them.

    Differences get their sign, and are in bold where they are significant. Raises UserError where a number is not in
    the text after the number before it, or names a place that is not on the map.
    """
    on_map = {tuple(getattr(effect, name) for name in PLACE): effect.found for effect in effects}
    done, written = "", []
    for row in rows:
        place = tuple(row[name] for name in PLACE)
        if place not in on_map:
            raise UserError(f"docs/map_numbers.csv names a place that is not on the map: {'/'.join(place)}")
        found = re.search(rf"(?<![\w.+*-]){re.escape(row['number'])}(?![\w*]|\.\d)", text)
        if not found:
            raise UserError(
                f"docs/map.md has no '{row['number']}' ({'/'.join(place)}) where docs/map_numbers.csv has it: "
                "put its line where the number stands, or leave it out"
            )
        estimate = on_map[place]
        number = signed_bold(estimate) if estimate.against else plain(estimate)
        done, text = done + text[: found.start()] + number, text[found.end() :]
        written.append({"number": number, **{name: row[name] for name in PLACE}})
    return done + text, written
