"""The figures of tables, the map and costs: dot plots of scores and differences, costs as scatter, bars and lines.

In a dot plot categories are on the y axis, and each method has a dot with its interval. No line joins the dots, because
the categories have no order.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from sequencematch.results import measure, theme, words
from sequencematch.results.estimates import REFERENCE, Estimate, Table, Variant, grouped, medians, variant_of
from sequencematch.results.measured import Measured
from sequencematch.settings.decoding_names import RULES, decoding_options
from sequencematch.settings.map import COLUMNS, DEFAULT, MINUS, Map, column_of

FAINT = 0.45
NOTE = "Dots: mean; bars: 95% interval, unadjusted; {}."
TEXTS_NOTE = "Means over seeds; line: perplexity of real text; {}."
HOLLOW = "hollow: a lower noise level η of the same method; "


@dataclass(frozen=True)
class Dot:
    """An estimate with its interval: its row, the series it belongs to (its legend entry), and how it looks.

    above: how many noise levels of its method are above its own: hollow, if there are any. faint: drawn paler.
    """

    row: str
    series: str
    cell: Estimate
    colour: str
    above: int = 0
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """A panel: title, x label (panels of one share their limits), dots, and the place of a vertical line, if any."""

    title: str
    axis: str
    dots: Sequence[Dot]
    baseline: float | None = None


def plot_dots(panels: Sequence[Panel], heading: str, note: str, path: Path, rows: Sequence[str] = ()) -> None:
    """All panels as one figure, in rows of four or three; ``rows``: where their order is not that of the dots."""
    rows = rows or list(dict.fromkeys(dot.row for panel in panels for dot in panel.dots))
    # Room for each row's label, and for the dots that share it.
    together = max(1, *(len(_series(panel, row)) for panel in panels for row in rows))
    apart = max(max(0.15 * together + 0.09, 0.16 * len(fill(row, 24).splitlines()) + 0.06) for row in rows)
    height = max(1.3, apart * len(rows) + 0.95)
    across = 3 if len(panels) % 4 else 4  # scores of four decodings, and their differences below
    with theme.drawing(path, len(panels), across, 3.0, height, sharey=True) as (figure, drawn):
        for place, panel in zip(drawn, panels, strict=True):
            _draw(place, panel, panels, rows)
        looks = {dot.series: dot for panel in panels for dot in panel.dots}
        theme.legend(figure, [theme.key(series, dot.colour, **_face(dot)) for series, dot in looks.items()])
        theme.title(figure, heading, note)


def _face(dot: Dot) -> dict:
    return {"markerfacecolor": theme.PAPER if dot.above else dot.colour, "markersize": 5}


def _series(panel: Panel, row: str) -> list[str]:
    return list(dict.fromkeys(dot.series for dot in panel.dots if dot.row == row))


def _draw(place, panel: Panel, panels: Sequence[Panel], rows: Sequence[str]) -> None:
    for dot in panel.dots:
        here = _series(panel, dot.row)
        y = rows.index(dot.row) + (here.index(dot.series) - (len(here) - 1) / 2) * min(0.24, 0.8 / len(here))
        alpha = FAINT if dot.faint else 1
        if dot.cell.low is not None and dot.cell.high is not None:
            place.plot([dot.cell.low, dot.cell.high], [y, y], color=dot.colour, linewidth=1.4, alpha=alpha)
        place.plot(dot.cell.mean, y, "o", color=dot.colour, alpha=alpha, **_face(dot))
    if panel.baseline is not None:
        place.axvline(panel.baseline, color=theme.SOFT, linewidth=0.9, zorder=0)
    place.set_title(fill(panel.title, 24), loc="left")
    place.set_xlabel(fill(panel.axis, 38))
    place.set_yticks(range(len(rows)), [fill(row, 24) for row in rows], color=theme.INK)
    place.set(xlim=_limits(panel, panels), ylim=(len(rows) - 0.45, -0.55))
    place.tick_params(axis="y", length=0)
    place.locator_params(axis="x", nbins=5)
    place.grid(axis="y", visible=False)


def _limits(panel: Panel, panels: Sequence[Panel]) -> tuple[float, float]:
    same_axis = [other for other in panels if other.axis == panel.axis]
    ends = [x for p in same_axis for dot in p.dots for x in (dot.cell.mean, dot.cell.low, dot.cell.high)]
    values = [x for x in (*ends, *(p.baseline for p in same_axis)) if x is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def plot_table(table: Table, heading: str, path: Path) -> None:
    """Scores above, paired differences to MLE below where the table has MLE; of texts, MAUVE and perplexity."""
    panels = [*score_panels(table), *score_panels(table, "mle")] if table.metric else text_panels(table)
    plot_dots(panels, heading, table_note(table), path)


def table_note(table: Table) -> str:
    """What the dots and bars of a table's figure are, and their number."""
    size = f"{table.seeds} seed{'s' * (table.seeds != 1)}, {table.questions} questions"
    several = len({variant.method for variant in table.variants}) < len(table.variants)
    return (NOTE if table.metric else TEXTS_NOTE).format(HOLLOW * several + size)


def score_panels(table: Table, against: str = "") -> list[Panel]:
    """Scores, or paired differences to a method, of a table.

    Where there are as many decodings as variants, one panel, in which rows are decodings. Where there are fewer, a
    panel per decoding, in which rows are variants in their family's colour.
    """
    axis, baseline = words.capital(words.describe(table.metric).label), 0.0 if against else None
    axis += f" vs. {against.upper()}" if against else ""
    name = f"{table.metric}{MINUS}{against}" if against else table.metric
    if len(table.decodings_of(name)) >= len(table.variants):
        return [Panel("", axis, _rows_of_decodings(table, name), baseline)]
    looks = theme.looks_of(table.variants)
    colours = theme.colours_of({variant.family for variant in table.variants})

    def dot(cell: Estimate) -> Dot:
        family, (_, above) = cell.variant.family, looks[cell.variant]
        return Dot(cell.variant.name, Variant(family, 0).label, cell, colours[family], above)

    found = (c for d in table.decodings_of(name) for c in table.cells if (c.name, c.decoding) == (name, d))
    return panels_of(((words.figure_label(cell.decoding), dot(cell)) for cell in found), axis, baseline)


def text_panels(table: Table) -> list[Panel]:
    """A panel per measure, a row per decoding; a line at the perplexity of real text, which belongs to none."""
    panels = []
    for quantity in ("mauve", "perplexity"):
        real, label = table.find(REFERENCE, "", quantity), words.capital(words.describe(quantity).label)
        panels.append(Panel(label, label, _rows_of_decodings(table, quantity), real.mean if real else None))
    return [panel for panel in panels if panel.dots]


def _rows_of_decodings(table: Table, quantity: str) -> list[Dot]:
    looks, decodings = theme.looks_of(table.variants), filter(None, table.decodings_of(quantity))
    cells = ((v, d, table.find(v, d, quantity)) for d in decodings for v in table.variants)
    return [Dot(words.figure_label(d), v.name, cell, *looks[v]) for v, d, cell in cells if cell]


def panels_of(dots: Iterable[tuple[str, Dot]], axis: str, baseline: float | None = None) -> list[Panel]:
    """A panel for each title, with its dots in their order."""
    by_title = grouped(dots, lambda titled: titled[0])
    return [Panel(heading, axis, [dot for _, dot in of_panel], baseline) for heading, of_panel in by_title.items()]


RULED = "MLE with the takeback rule"
# Differences to MLE pooled over the tasks, and, in the last row, the pooled one of the two learned methods.
POOLED = "all tasks"
SM_BC = "SM vs. BC, pooled"
AXIS = "difference to MLE, points"
FOREST_NOTE = "Accuracy in %, or BLEU. Dots: mean; bars: 95% interval; methods with <bkspc> at {etas}; {sizes}."


def plot_forest(results: Mapping[str, Table], lines: Sequence[Estimate], path: Path) -> None:
    """The forest plot."""
    heading = "Does SequenceMatch help? Paired differences to MLE"
    plot_dots(forest_panels(results, lines), heading, forest_note(results, lines), path)


def forest_panels(results: Mapping[str, Table], lines: Sequence[Estimate]) -> list[Panel]:
    """Sampled, greedy and perturbed; a row for each task, and rows for what is pooled over all tasks (``lines``)."""
    panels = []
    for column in COLUMNS:
        decodings = {row: name for row, table in results.items() if (name := measure.columns_of(table).get(column))}
        dots = [dot for row, name in decodings.items() for dot in _forest_dots(row, results[row], name)]
        of_method = Counter(dot.series for dot in dots)
        here = [line for line in lines if line.decoding == column]
        # Of all tasks of the panel: earlier files cannot be pooled.
        every = [line for line in here if line.n == of_method[line.variant.label]]
        pooled = [(POOLED, line) for line in every if line.against and variant_of(line.against) == measure.BASELINE]
        pooled += [(SM_BC, line) for line in _sm_and_bc(here)]
        dots += [Dot(row, line.variant.label, line, theme.METHODS[line.variant.method]) for row, line in pooled]
        heading = " / ".join(map(words.decoding_label, dict.fromkeys(decodings.values())))
        panels += panels_of(((heading, dot) for dot in dots), AXIS, 0.0)
    return panels


def _forest_dots(row: str, table: Table, decoding: str) -> list[Dot]:
    methods = measure.drawn(table).items()
    found = [(v.label, method, measure.difference(table, method, "mle", decoding)) for method, v in methods]
    found.append((RULED, theme.RULE, measure.of_rule(table, decoding)))
    return [Dot(row, label, cell, theme.METHODS[colour]) for label, colour, cell in found if cell]


def _sm_and_bc(lines: Iterable[Estimate]) -> list[Estimate]:
    return [line for line in lines if line.against and (line.where.method, line.against.method) == ("sm", "bc")]


def forest_note(results: Mapping[str, Table], lines: Sequence[Estimate]) -> str:
    """What the dots and bars are, and the sizes."""
    tables = results.values()
    etas = sorted({variant.eta for table in tables for variant in measure.drawn(table).values()})
    seeds, questions = ({getattr(table, name) for table in tables} for name in ("seeds", "questions"))
    sizes = f"{_range(seeds)} seeds, {_range(questions)} questions"
    note = FOREST_NOTE.format(etas=f"η = {words.enumerated([f'{eta:g}' for eta in etas])}", sizes=sizes)
    pooled = {line.n for line in _sm_and_bc(lines)}
    return f"{note} Last row: SM vs. BC over {_range(pooled)} tasks." if pooled else note


def _range(values: Iterable[int]) -> str:
    low, high = min(values := sorted(values)), max(values)
    return f"{low}" if low == high else f"{low}-{high}"


MAP_NOTE = "Paired differences in points (accuracy in %, or BLEU): dots: mean; bars: 95% interval, unadjusted; {}."
PALE = "pale: not significant after the correction for all comparisons of the map"
# Rows of the summary where the map names none; and beyond how many times the median cost the x axis is cut.
SUMMARISED, CUT = 8, 1.6
GAIN = 0.5  # points by which a decoding must beat every cheaper one to be named


def plot_axis(described: Map, name: str, found: Sequence[Estimate], seeds: int, path: Path) -> None:
    """The differences to the first role along an axis: a panel per reading, a row per cell."""
    dots = [(words.figure_label(e.cell.reading), e.cell.at, e) for e in found if e.cell.axis == name]
    _plot_map(described, dots, described.axes[name].title, seeds, path)


def plot_summary(described: Map, found: Sequence[Estimate], seeds: int, path: Path) -> None:
    """The cells that ``described.summary`` names, or the first ones: a panel per column."""
    cells = dict.fromkeys((effect.cell.axis, effect.cell.at) for effect in found)
    places = described.summary or {f"{axis}: {at}": f"{axis}/{at}" for axis, at in list(cells)[:SUMMARISED]}
    labels = {place: label for label, place in places.items()}
    first: dict[tuple[str, str, str], Estimate] = {}  # readings of a column
    for effect in found:
        if label := labels.get(f"{effect.cell.axis}/{effect.cell.at}"):
            first.setdefault((effect.cell.column, label, effect.cell.roles), effect)
    chosen = sorted(first.items(), key=lambda item: COLUMNS.index(item[0][0]))
    dots = [(column, label, effect) for (column, label, _), effect in chosen]
    _plot_map(described, dots, described.title, seeds, path, list(places))


def _plot_map(
    described: Map,
    found: Sequence[tuple[str, str, Estimate]],
    heading: str,
    seeds: int,
    path: Path,
    rows: Sequence[str] = (),
) -> None:
    """Of (panel, row, difference), those to the first role, and of the first one with a rule that deletes to itself."""
    first, colours, dots = next(iter(described.methods)), theme.colours_of(described.methods), []
    for panel, row, effect in found:
        role, _, other = effect.cell.roles.partition(MINUS)
        ruled = decoding_options(effect.decoding).keys() & set(RULES)
        label, faint = words.without_marks(row), not effect.significant
        if other == first:
            dots.append((panel, Dot(label, role.upper(), effect, colours[role], faint=faint)))
        elif (role, other) == (first, DEFAULT) and ruled:
            series = f"{first.upper()} with a rule vs. without"
            dots.append((panel, Dot(label, series, effect, colours[theme.RULE], faint=faint)))
    panels = panels_of(dots, f"difference to {first.upper()}, points", 0.0)
    rows = [row for row in map(words.without_marks, rows) if any(dot.row == row for _, dot in dots)]
    note = MAP_NOTE.format(f"{seeds} seeds, {found[0][2].n} questions; {PALE}")
    plot_dots(panels, words.capital(words.without_marks(heading)), note, path, rows)


def plot_cost(described: Map, found: Sequence[Estimate], path: Path) -> None:
    """The default cell's models in every decoding: points against tokens written per answer, a panel per reading.

    Labels mark the Pareto front. Those that cost far more than the median are named with their cost at the right edge.
    """
    colours = theme.colours_of(described.methods)
    models = {role: (described.task, method) for role, method in described.methods.items()}  # none of a difference
    own = [e for e in found if models.get(e.cell.roles) == (e.where.task, e.where.method)]
    sides = list({e.where: e for e in own if e.where.eta in (0, described.eta)}.values())
    cut = CUT * sorted(map(_cost, sides))[len(sides) // 2]
    with theme.drawing(path, len(described.readings), 2, 4.5, 3.1) as (figure, drawn):
        for place, reading in zip(drawn, described.readings, strict=True):
            shown = [side for side in sides if _kind(side.decoding) == _kind(reading)]
            for side in shown:
                default, colour = side.decoding == reading, colours[side.cell.roles]
                look = {"markersize": 9 if default else 4.5, "markerfacecolor": colour if default else theme.PAPER}
                place.plot(min(_cost(side), cut), side.mean, ">" if _cost(side) > cut else "o", color=colour, **look)
            place.set_title(words.figure_label(reading), loc="left")
            place.set(xlabel="tokens written per answer", ylabel="points")
            _name(place, _named(shown, reading, cut), cut)
        handles = [theme.key(role.upper(), colours[role]) for role in described.methods]
        handles.append(theme.key("default decoding", theme.SOFT, markersize=9))
        theme.legend(figure, [*handles, theme.key("another decoding", theme.SOFT, markerfacecolor=theme.PAPER)])
        theme.title(figure, "Points against the cost of an answer: the default cell's models in every decoding")


def _cost(side: Estimate) -> float:
    return side.cell.costs["pushes_per_sequence"]


def _kind(decoding: str) -> tuple[str, set[str]]:
    """What the decodings of a panel share: they are equally perturbed, and all greedy or none."""
    return column_of(decoding), {part for part in decoding.split("+") if part.startswith("perturbed")}


def _named(shown: Sequence[Estimate], reading: str, cut: float) -> list[tuple[float, float, str]]:
    """The decodings to name: cost (at most ``cut``), points, and a label without what the reading's name says."""
    found, best = [], float("-inf")
    for side in sorted(shown, key=_cost):
        own = [part for part in side.decoding.split("+") if part not in reading.split("+")]
        label = f"{side.cell.roles.upper()} {words.figure_label('+'.join(own)) if own else 'default'}"
        if _cost(side) > cut:
            found.append((cut, side.mean, f"{label}: {words.number(_cost(side), 1)} tokens"))
        elif side.mean >= best + GAIN:
            found.append((_cost(side), side.mean, label))
            best = side.mean
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
        place.plot([cost, x], [points, y], color=theme.GRID, linewidth=0.7, zorder=0)
        place.text(x, y, label, fontsize=7, va="center", color=theme.SOFT)
    place.set(xlim=(left, edge + 0.95 * (edge - left)), ylim=(min(low, top), high))
    place.set_xticks([tick for tick in place.get_xticks() if left <= tick <= edge])


VISIBLE = 0.03  # a part below this share of every step is not drawn
OURS, THEIRS = ("bc", "sm", "sm_shared"), 0.5  # opacity of the other rows


def plot_parts(costs: Sequence[Estimate], heading: str, path: Path) -> None:
    """A panel per case, a bar per row, from the naive way to ours, that stacks its parts; a mark at the token floor."""
    cases = list(dict.fromkeys(cost.where.task for cost in costs))
    rows = measure.ordered(list(dict.fromkeys(cost.where.method for cost in costs)))
    parts = {(case, row): measure.parts_of(costs, case, row) for case in cases for row in rows}
    visible = {name for of in parts.values() for name, seconds in of.items() if seconds > VISIBLE * sum(of.values())}
    drawn = {part: colour for part, colour in zip(words.PART_LABELS, theme.COLOURS, strict=False) if part in visible}
    size = 9.0 / len(cases), 0.9 + 0.34 * len(rows)
    with theme.drawing(path, len(cases), len(cases), *size, sharey=True) as (figure, panels):
        for panel, case in zip(panels, cases, strict=True):
            of = medians(costs, case)
            for place, row in enumerate(rows):
                left = 0.0
                for part, colour in drawn.items():
                    width = 1e3 * max(0.0, parts[case, row][part])
                    panel.barh(place, width, 0.6, left, color=colour, alpha=1 if row in OURS else THEIRS)
                    left += width
                floor = 1e3 * of[row, "token_floor"] * of["mle", "step"]
                panel.plot([floor] * 2, [place - 0.4, place + 0.4], color=theme.INK, linewidth=1.2)
                text = f" {words.number(of[row, 'amortised_ratio'], 2)} x"
                panel.text(max(left, floor), place, text, va="center", color=theme.INK if row in OURS else theme.SOFT)
            panel.set_title(case, loc="left")
            panel.set_xlabel("milliseconds per amortised step")
            panel.set_yticks(range(len(rows)), [fill(words.LABELS[row], 26) for row in rows], color=theme.INK)
            panel.margins(x=0.14)
            panel.grid(axis="y", visible=False)
        for name, row in zip(panels[0].get_yticklabels(), rows, strict=True):
            name.set_fontweight("bold" if row in OURS else "normal")
        panels[0].invert_yaxis()
        square = {"marker": "s", "markersize": 7}
        handles = [theme.key(words.PART_LABELS[part], colour, **square) for part, colour in drawn.items()]
        theme.legend(figure, [*handles, theme.key("token floor", theme.INK, marker="|", markersize=10)])
        theme.title(figure, heading, "Medians. Numbers at the bars: times the MLE step of the same repeat. Bold: ours.")


def plot_growth(measured: Measured, heading: str, path: Path) -> None:
    """Median step time of each row over lengths and over batches; below, its ratio to MLE's and the token floors."""
    counts, over = ("context", "batch"), {}
    sizes = {case: [int(measured.series(case, "", name)[0]) for name in counts] for case in measured.cases}
    for i, name in enumerate(counts):  # what varies, and what stays at its least: the case of each size
        least = min(of[1 - i] for of in sizes.values())
        of_size = sorted((of[i], case) for case, of in sizes.items() if of[1 - i] == least)
        over[name] = f"{counts[1 - i]} {least}", of_size
    costs = measure.measure_parts(measured, "mle")
    found = {(cost.where.task, cost.where.method, cost.quantity): cost for cost in costs}
    rows = [row for row in words.LABELS if any(key[1:] == (row, "step") for key in found)]
    with theme.drawing(path, 4, 2, 3.8, 2.6, sharex="col") as (figure, panels):
        for top, bottom, (name, (rest, cases)) in zip(panels[:2], panels[2:], over.items(), strict=True):
            x = [size for size, _ in cases]
            for row, colour in zip(rows, theme.COLOURS, strict=False):
                line = {"color": colour, "markersize": 4}
                step, tokens = ([found[case, row, name] for _, case in cases] for name in ("step", "tokens"))
                top.plot(x, [cost.mean for cost in step], "o-", label=words.LABELS[row], **line)
                bottom.plot(x, [cost.ratio for cost in step], "o-", **line)
                bottom.plot(x, [cost.ratio for cost in tokens], ":", color=colour)
            top.set(xscale="log", yscale="log")
            bottom.set(xscale="log", xlabel=f"{name}, {rest}")
            bottom.set_xticks(x, [f"{value:,}" for value in x])
            bottom.set_xticks([], minor=True)
            bottom.set_ylim(bottom=0)
        panels[0].set_ylabel("seconds per step")
        panels[2].set_ylabel("times the MLE step")
        bottom.plot([], [], ":", color=theme.INK, label="token floor")
        handles, dotted = (panel.get_legend_handles_labels()[0] for panel in (top, bottom))
        theme.legend(figure, [*handles, *dotted])
        theme.title(figure, heading, "Medians.")
