"""The figures of tables, the map and costs: dot plots of scores and differences, costs as scatter, bars and lines.

In a dot plot categories are on the y axis; there is a panel per decoding, and a dot with its interval per method. No
line joins the dots, because the categories have no order.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sequencematch.results.estimates import REFERENCE, Estimate, Place, Table, Variant, bracketed
from sequencematch.results.measure import (
    BASELINE,
    decoding_of,
    drawn,
    medians,
    of_rule,
    ordered,
    parts_of,
    to_mle,
)
from sequencematch.results.measured import Measured
from sequencematch.results.theme import (
    COLOURS,
    GRID,
    INK,
    METHODS,
    PAPER,
    RULE,
    SOFT,
    canvas,
    colours_of,
    drawing,
    key,
    legend,
    looks_of,
    side_by_side,
    title,
    to_svg,
    wrapped,
)
from sequencematch.results.words import (
    LABELS,
    PART_LABELS,
    capital,
    decoding_label,
    describe,
    enumerated,
    figure_label,
    multiple,
    number,
    role_label,
    sample_size,
    without_marks,
)
from sequencematch.settings.decoding_names import RULES, decoding_options
from sequencematch.settings.map import COLUMNS, DEFAULT, MINUS, Map, column_of

ACROSS = 3  # panels side by side
FAINT = 0.45
NOTE = "Dots: mean; bars: 95% interval, unadjusted; hollow: a lower noise level η of the same method; {}."
TEXTS_NOTE = "Means over seeds ({}); hollow: a lower noise level η of the same method; line: perplexity of real text."


@dataclass(frozen=True)
class Dot:
    """An estimate: its row, the series it belongs to (its legend entry), and how it looks.

    low, high: the ends of its interval; None without one. filled: whether the marker is. faint: drawn paler.
    """

    row: str
    series: str
    mean: float
    low: float | None
    high: float | None
    colour: str
    filled: bool = True
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel: its title, the label of its x axis, and its dots. Panels with one label share their x limits.

    baseline: the place of a vertical line, such as 0 of a difference; None for none.
    """

    title: str
    axis: str
    dots: Sequence[Dot]
    baseline: float | None = None


def plot_dots(panels: Sequence[Panel], heading: str, note: str, path: Path, rows: Sequence[str] = ()) -> None:
    """All panels as one figure, at most three side by side.

    note: what error bars, n and seeds are, below the heading. rows: their order from top to bottom, where it is not
    that of the dots.
    """
    rows = rows or _rows(panels)
    with side_by_side(path, len(panels), ACROSS, 3.0, _height(panels, rows), sharey=True) as (figure, drawn):
        for place, panel in zip(drawn, panels, strict=True):
            _draw(place, panel, panels, rows)
        legend(figure, _keys(panels))
        title(figure, heading, note)


def panel_svgs(panels: Sequence[Panel]) -> list[str]:
    """Each panel as an SVG of its own, 4 inches wide, for a page that puts them side by side or below each other."""
    rows = _rows(panels)
    found = []
    for panel in panels:
        with canvas(1, 1, 4.0, _height(panels, rows)) as (figure, grid):
            _draw(grid[0, 0], panel, panels, rows)
            found.append(to_svg(figure))
    return found


def legend_of(panels: Sequence[Panel]) -> dict[str, tuple[str, bool]]:
    """The colour of each series, and whether its marker is filled."""
    return {dot.series: (dot.colour, dot.filled) for panel in panels for dot in panel.dots}


def _rows(panels: Sequence[Panel]) -> list[str]:
    return list(dict.fromkeys(dot.row for panel in panels for dot in panel.dots))


def _keys(panels: Sequence[Panel]) -> list:
    return [key(series, colour, **_face(colour, filled)) for series, (colour, filled) in legend_of(panels).items()]


def _face(colour: str, filled: bool) -> dict:
    return {"markerfacecolor": colour if filled else PAPER, "markersize": 5}


def _height(panels: Sequence[Panel], rows: Sequence[str]) -> float:
    """Inches of a panel: room for each row's label and for the dots that share it."""
    together = max(1, *(len(_series(panel, row)) for panel in panels for row in rows))
    lines = sum(max(0.15 * together + 0.09, 0.16 * len(wrapped(row, 24).splitlines()) + 0.06) for row in rows)
    return max(1.3, lines + 0.95)


def _series(panel: Panel, row: str) -> list[str]:
    return list(dict.fromkeys(dot.series for dot in panel.dots if dot.row == row))


def _draw(place, panel: Panel, panels: Sequence[Panel], rows: Sequence[str]) -> None:
    for dot in panel.dots:
        here = _series(panel, dot.row)
        y = rows.index(dot.row) + (here.index(dot.series) - (len(here) - 1) / 2) * min(0.24, 0.8 / len(here))
        alpha = FAINT if dot.faint else 1
        if dot.low is not None and dot.high is not None:
            place.plot([dot.low, dot.high], [y, y], color=dot.colour, linewidth=1.4, alpha=alpha)
        place.plot(dot.mean, y, "o", color=dot.colour, alpha=alpha, **_face(dot.colour, dot.filled))
    if panel.baseline is not None:
        place.axvline(panel.baseline, color=SOFT, linewidth=0.9, zorder=0)
    place.set_title(wrapped(panel.title, 34), loc="left")
    place.set_xlabel(wrapped(panel.axis, 38))
    place.set_yticks(range(len(rows)), [wrapped(row, 24) for row in rows], color=INK)
    place.set(xlim=_limits(panel, panels), ylim=(len(rows) - 0.45, -0.55))
    place.tick_params(axis="y", length=0)
    place.locator_params(axis="x", nbins=5)
    place.grid(axis="y", visible=False)


def _limits(panel: Panel, panels: Sequence[Panel]) -> tuple[float, float]:
    same_axis = [other for other in panels if other.axis == panel.axis]
    values = [x for p in same_axis for d in p.dots for x in (d.mean, d.low, d.high) if x is not None]
    values += [p.baseline for p in same_axis if p.baseline is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


# ---- tables of scores -------------------------------------------------------------------------------


def plot_scores(table: Table, heading: str, path: Path) -> None:
    """Scores above, paired differences to MLE below where the table has MLE."""
    panels = [*score_panels(table), *difference_panels(table)]
    plot_dots(panels, heading, NOTE.format(sample_size(table)), path)


def score_panels(table: Table) -> list[Panel]:
    """The score of each variant, a panel per decoding."""
    return _panels(table, table.metric, capital(describe(table.metric).label), None)


def difference_panels(table: Table) -> list[Panel]:
    """Each variant's paired difference to MLE, a panel per decoding; none where MLE is not in the table."""
    label = f"{capital(describe(table.metric).label)}, difference to MLE"
    return _panels(table, f"{table.metric}_minus_mle", label, 0.0)


def _panels(table: Table, quantity: str, axis: str, baseline: float | None) -> list[Panel]:
    looks = _looks(table)
    found = (c for d in table.decodings_of(quantity) for c in table.cells if (c.name, c.decoding) == (quantity, d))
    dots = ((figure_label(c.decoding), dot_of(c, c.variant.name, c.variant.label, *looks[c.variant])) for c in found)
    return panels_of(dots, axis, baseline)


def panels_of(dots: Iterable[tuple[str, Dot]], axis: str, baseline: float | None = None) -> list[Panel]:
    """A panel for each title, with its dots in their order."""
    by_title: dict[str, list[Dot]] = {}
    for heading, dot in dots:
        by_title.setdefault(heading, []).append(dot)
    return [Panel(heading, axis, of_panel, baseline) for heading, of_panel in by_title.items()]


def _looks(table: Table) -> dict[Variant, tuple[str, bool]]:
    """The colour of each variant's method, and whether its marker is filled (at its highest noise level)."""
    return {variant: (colour, not above) for variant, (colour, above) in looks_of(table.variants).items()}


def dot_of(cell: Estimate, row: str, series: str, colour: str, filled: bool = True, faint: bool = False) -> Dot:
    """An estimate as a dot."""
    return Dot(row, series, cell.mean, cell.low, cell.high, colour, filled, faint)


def older_error_panels(table: Table) -> list[Panel]:
    """The share of errors ever deleted, a row per number of tokens in between and a panel per decoding."""
    looks, axis = _looks(table), capital(describe("taken_back").label)
    found = [(cell, bracketed(cell.quantity)) for cell in table.cells if cell.quantity.startswith("taken_back[")]
    found.sort(key=lambda item: (item[0].decoding, int(item[1])))
    dots = ((figure_label(c.decoding), dot_of(c, _row(d), c.variant.name, *looks[c.variant])) for c, d in found)
    return panels_of(dots, axis)


def _row(depth: str) -> str:
    return "at once" if depth == "0" else f"{depth} token{'s' * (depth != '1')} later"


# ---- tables of texts --------------------------------------------------------------------------------


def plot_texts(table: Table, heading: str, path: Path) -> None:
    """MAUVE and perplexity of every decoding. The standard deviations between seeds are in the table."""
    plot_dots(text_panels(table), heading, TEXTS_NOTE.format(sample_size(table)), path)


def text_panels(table: Table) -> list[Panel]:
    """A panel per measure, a row per decoding; a line at the perplexity of real text, which belongs to none."""
    looks, panels = _looks(table), []
    for quantity in ("mauve", "perplexity"):
        real, label = table.find(REFERENCE, "", quantity), capital(describe(quantity).label)
        dots = [
            (label, dot_of(cell, figure_label(decoding), variant.name, *looks[variant]))
            for decoding in filter(None, table.decodings_of(quantity))
            for variant in table.variants
            if (cell := table.find(variant, decoding, quantity))
        ]
        panels += panels_of(dots, label, real.mean if real else None)
    return panels


# ---- the forest plot --------------------------------------------------------------------------------

RULED = "MLE with the takeback rule"
# Differences to MLE pooled over the tasks, and, in the last row, the pooled one of the two learned methods.
POOLED = "all tasks"
SM_BC = "SM vs. BC, pooled"
AXIS = "difference to MLE, points"
FOREST_NOTE = "Accuracy in %, or BLEU. Dots: mean; bars: 95% interval; methods with <bkspc> at {etas}; {sizes}."


def plot_forest(results: Mapping[str, Table], lines: Sequence[Estimate], path: Path) -> None:
    """The forest plot as a PNG."""
    heading = "Does SequenceMatch help? Paired differences to MLE"
    plot_dots(forest_panels(results, lines), heading, forest_note(results, lines), path)


def forest_panels(results: Mapping[str, Table], lines: Sequence[Estimate]) -> list[Panel]:
    """Sampled, greedy and perturbed; a row for each task, and rows for what is pooled over all tasks (``lines``)."""
    panels = []
    for column in COLUMNS:
        decodings = {row: name for row, table in results.items() if (name := decoding_of(table, column))}
        dots = [dot for row, name in decodings.items() for dot in _forest_dots(row, results[row], name)]
        of_method = Counter(dot.series for dot in dots)
        here = [line for line in lines if line.decoding == column]
        # Of all tasks of the panel: earlier files cannot be pooled.
        every = [line for line in here if line.n == of_method[line.variant.label]]
        dots += [_pooled(line, POOLED) for line in every if line.against and line.against.variant == BASELINE]
        dots += [_pooled(line, SM_BC) for line in _sm_and_bc(here)]
        heading = " / ".join(map(decoding_label, dict.fromkeys(decodings.values())))
        panels += panels_of(((heading, dot) for dot in dots), AXIS, 0.0)
    return panels


def _sm_and_bc(lines: Iterable[Estimate]) -> list[Estimate]:
    return [line for line in lines if line.against and (line.where.method, line.against.method) == ("sm", "bc")]


def _pooled(line: Estimate, row: str) -> Dot:
    return dot_of(line, row, line.variant.label, METHODS[line.variant.method])


def _forest_dots(row: str, table: Table, decoding: str) -> list[Dot]:
    found = [(variant.label, variant.method, to_mle(table, variant, decoding)) for variant in drawn(table)]
    found.append((RULED, RULE, of_rule(table, decoding)))
    return [dot_of(cell, row, label, METHODS[colour]) for label, colour, cell in found if cell]


def forest_note(results: Mapping[str, Table], lines: Sequence[Estimate]) -> str:
    """What the dots and bars are, and the sizes."""
    tables = results.values()
    etas = sorted({variant.eta for table in tables for variant in drawn(table)})
    seeds, questions = ({getattr(table, name) for table in tables} for name in ("seeds", "questions"))
    sizes = f"{_range(seeds)} seeds, {_range(questions)} questions"
    note = FOREST_NOTE.format(etas=f"η = {enumerated([f'{eta:g}' for eta in etas])}", sizes=sizes)
    pooled = {line.n for line in _sm_and_bc(lines)}
    return f"{note} Last row: SM vs. BC over {_range(pooled)} tasks." if pooled else note


def _range(values: Iterable[int]) -> str:
    low, high = min(values := sorted(values)), max(values)
    return f"{low}" if low == high else f"{low}-{high}"


# ---- the map ----------------------------------------------------------------------------------------

MAP_NOTE = "Paired differences in points (accuracy in %, or BLEU): dots: mean; bars: 95% interval, unadjusted; {}."
PALE = "pale: not significant after the correction for all comparisons of the map"
# Rows of the summary where the map names none; and beyond how many times the median cost the x axis is cut.
SUMMARISED, CUT = 8, 1.6
GAIN = 0.5  # points by which a decoding must beat every cheaper one to be named


def plot_axis(described: Map, name: str, found: Sequence[Estimate], seeds: int, path: Path) -> None:
    """The differences to the first role along an axis: a panel per reading, a row per cell."""
    here = [effect for effect in found if effect.cell.axis == name]
    dots = ((figure_label(e.cell.reading), dot) for e in here for dot in _map_dots(described, e.cell.at, e))
    panels = panels_of(dots, _axis_label(described), 0.0)
    plot_dots(panels, capital(without_marks(described.axes[name].title)), _note(here, seeds), path)


def plot_summary(described: Map, found: Sequence[Estimate], seeds: int, path: Path) -> None:
    """The cells that ``described.summary`` names, or the first ones: a panel per column."""
    cells = dict.fromkeys((effect.cell.axis, effect.cell.at) for effect in found)
    places = described.summary or {f"{axis}: {at}": f"{axis}/{at}" for axis, at in list(cells)[:SUMMARISED]}
    labels = {place: label for label, place in places.items()}
    first: dict[tuple[str, str, str], Estimate] = {}  # readings of a column
    for effect in found:
        if (label := labels.get(f"{effect.cell.axis}/{effect.cell.at}")) is not None:
            first.setdefault((effect.cell.column, label, effect.cell.roles), effect)
    chosen = sorted(first.items(), key=lambda item: COLUMNS.index(item[0][0]))
    dots = [(column, dot) for (column, label, _), e in chosen for dot in _map_dots(described, label, e)]
    shown = {dot.row for _, dot in dots}
    rows = [row for row in map(without_marks, labels.values()) if row in shown]
    panels = panels_of(dots, _axis_label(described), 0.0)
    plot_dots(panels, without_marks(described.title), _note(found, seeds), path, rows)


def _first(described: Map) -> str:
    """The role that the other roles are compared with."""
    return next(iter(described.methods))


def _axis_label(described: Map) -> str:
    return f"difference to {role_label(_first(described))}, points"


def _note(found: Sequence[Estimate], seeds: int) -> str:
    return MAP_NOTE.format(f"{seeds} seeds, {found[0].n} questions; {PALE}")


def _map_dots(described: Map, row: str, effect: Estimate) -> Iterator[Dot]:
    """A difference to the first role; or of the first one with a rule that deletes, to itself. Others are not drawn."""
    first, colours = _first(described), colours_of(described.methods)
    role, _, other = effect.cell.roles.partition(MINUS)
    row, faint = without_marks(row), not effect.significant
    if other == first:
        yield dot_of(effect, row, role_label(role), colours[role], faint=faint)
    elif (role, other) == (first, DEFAULT) and _has_rule(effect.decoding):
        series = f"{role_label(first)} with a rule vs. without"
        yield dot_of(effect, row, series, colours[RULE], faint=faint)


def _has_rule(decoding: str) -> bool:
    return any(name in decoding_options(decoding) for name in RULES)


def plot_cost(described: Map, found: Sequence[Estimate], path: Path) -> None:
    """The default cell's models in every decoding: points against tokens written per answer, a panel per reading.

    Labels mark the Pareto front. Those that cost far more than the median are named with their cost at
    the right edge.
    """
    colours = colours_of(described.methods)
    sides = default_sides(described, found)
    costs = sorted(effect.cell.costs["pushes_per_sequence"] for effect in sides.values())
    cut = CUT * costs[len(costs) // 2]
    with side_by_side(path, len(described.readings), 2, 4.5, 3.1) as (figure, drawn):
        for place, reading in zip(drawn, described.readings, strict=True):
            shown = decoded_like(reading, sides)
            for side, effect in shown.items():
                default, cost = side.decoding == reading, effect.cell.costs["pushes_per_sequence"]
                look = {"markersize": 9 if default else 4.5, "color": colours[effect.cell.roles]}
                look |= {} if default else {"markerfacecolor": PAPER}
                place.plot(min(cost, cut), effect.mean, ">" if cost > cut else "o", **look)
            place.set_title(figure_label(reading), loc="left")
            place.set(xlabel="tokens written per answer", ylabel="points")
            _name(place, _named(shown, reading, cut), cut)
        handles = [key(role_label(role), colours[role]) for role in described.methods]
        handles.append(key("default decoding", SOFT, markersize=9))
        legend(figure, [*handles, key("another decoding", SOFT, markerfacecolor=PAPER)])
        title(figure, "Points against the cost of an answer: the default cell's models in every decoding")


def _named(shown: dict[Place, Estimate], reading: str, cut: float) -> list[tuple[float, float, str]]:
    """The decodings to name: cost (at most ``cut``), points, and a label without what the reading's name says."""
    found, best = [], float("-inf")
    for side, effect in sorted(shown.items(), key=lambda item: item[1].cell.costs["pushes_per_sequence"]):
        cost, points = effect.cell.costs["pushes_per_sequence"], effect.mean
        own = [part for part in side.decoding.split("+") if part not in reading.split("+")]
        label = f"{role_label(effect.cell.roles)} {figure_label('+'.join(own)) if own else 'default'}"
        if cost > cut:
            found.append((cut, points, f"{label}: {number(cost, 1)} tokens"))
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


def default_sides(described: Map, found: Sequence[Estimate]) -> dict[Place, Estimate]:
    """The scores of the default cell's own models, each decoding once."""
    sides: dict[Place, Estimate] = {}
    for effect in found:
        side = effect.where
        default = (described.task, described.methods.get(effect.cell.roles))  # none of a difference
        if (side.task, side.method) == default and side.eta in (0, described.eta):
            sides[side] = effect
    return sides


def decoded_like(reading: str, sides: dict[Place, Estimate]) -> dict[Place, Estimate]:
    """The sides with the decoding of a reading or an extension of it: equally perturbed, and both greedy or neither."""

    def kind(decoding: str) -> tuple[str, set[str]]:
        return column_of(decoding), {part for part in decoding.split("+") if part.startswith("perturbed")}

    return {side: effect for side, effect in sides.items() if kind(side.decoding) == kind(reading)}


# ---- costs ------------------------------------------------------------------------------------------


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
                text = f" {multiple(of[row, 'amortised_ratio'])}"
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


OURS = ("bc", "sm", "sm_shared")
