"""The map as a page: an overview, every difference, then each axis with its scores and costs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sequencematch.results.document import Block, Bullets, Grid, Heading, Paragraph
from sequencematch.results.effects import LEVEL, Effect, differences, significant_under
from sequencematch.results.words import INTERVAL, capital, decoding_label, enumerated, number
from sequencematch.settings.map import COLUMNS, MINUS, PLAIN, Map, Reading

# How a difference comes out: significant after the correction, by its own interval only, or not.
OUTCOMES = ("better", "better, uncorrected", "not significant", "worse, uncorrected", "worse")


def map_page(
    described: Map, found: Sequence[Effect], seeds: Sequence[int], missing: Sequence[Reading] = ()
) -> list[Block]:
    """The blocks of the page. ``missing``: names of cells that are on the map, but not measured yet."""
    there = dict.fromkeys(effect.reading.axis for effect in found)
    axes = [block for name in described.axes if name in there for block in _axis(described, name, found)]
    absent = []
    for axis in dict.fromkeys(reading.axis for reading in missing):
        places = dict.fromkeys(reading.at for reading in missing if reading.axis == axis)
        absent.append(f"{described.axes[axis].title} ({', '.join(places)})")
    return [
        Paragraph(_caption(described, found, seeds)),
        *([Paragraph(f"Not yet measured: {'; '.join(absent)}.")] if absent else []),
        Heading("At a glance"),
        Paragraph(
            "Comparisons by outcome, each counted once. *Better* and *worse* are significant after the correction, "
            f"*uncorrected* by their own {INTERVAL} only."
        ),
        glance(found),
        Paragraph(_corrections(found)),
        Paragraph("![The rows that tell the story](summary.png)"),
        Heading("All differences"),
        Paragraph("Mean difference in points; in bold, the significant ones. *Default* is the default cell."),
        all_differences(described, found),
        *axes,
        Heading("Costs"),
        Paragraph("![Points against tokens written per answer](cost.png)"),
    ]


def _caption(described: Map, found: Sequence[Effect], seeds: Sequence[int]) -> str:
    default = ", ".join(f"{role_label(role)}: `{method}`" for role, method in described.methods.items())
    return (
        f"Default cell: task `{described.task}` at η = {described.eta:g} ({default}); {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}), {found[0].questions} questions. Scores are points: accuracy in per cent, or "
        "BLEU. Intervals are 95% bootstrap intervals over seeds and questions, corrected for few seeds. Tokens are "
        "those written per answer, which is what decoding costs: deleted ones and answers not chosen are included."
    )


def _corrections(found: Sequence[Effect]) -> str:
    """How many comparisons are significant by each correction."""
    (ours, count), *others = significant_under(found).items()
    rest = " and ".join(f"{number} by that of {name}" for name, number in others)
    return (
        f"{len(differences(found))} paired comparisons were made. {count} of them are significant at a false discovery "
        f"rate of {LEVEL:.0%} by the correction of {ours}, which this page uses; {rest}."
    )


def glance(found: Sequence[Effect]) -> Grid:
    """How many comparisons of each kind had each outcome."""
    compared = differences(found)
    rows = []
    for quantity in dict.fromkeys(effect.quantity for effect in compared):
        for column in COLUMNS:
            chosen = [e for e in compared if (e.quantity, e.reading.column) == (quantity, column)]
            counts = Counter(map(outcome_of, chosen))
            if chosen:
                rows.append([quantity_label(quantity), column, *(str(counts[outcome]) for outcome in OUTCOMES)])
    return Grid(["pair", "decoding", *OUTCOMES], rows)


def outcome_of(effect: Effect) -> str:
    """One of ``OUTCOMES``."""
    found = effect.found
    if effect.significant:
        return "better" if found.mean > 0 else "worse"
    if found.low > 0:
        return "better, uncorrected"
    return "worse, uncorrected" if found.high < 0 else "not significant"


@dataclass(frozen=True)
class Line:
    """A line of the table of all differences: a cell, and its reading where several of the cell share a column."""

    axis: str
    at: str
    reading: str


def by_line(compared: Sequence[Effect]) -> dict[Line, dict[tuple[str, str], Effect]]:
    """The differences of each line by column and quantity."""
    found: dict[Line, dict[tuple[str, str], Effect]] = {}
    sharing: dict[tuple[str, str, str], list[str]] = {}
    for effect in compared:
        reading = effect.reading
        readings = sharing.setdefault((reading.axis, reading.at, reading.column), [])
        if reading.name not in readings:
            readings.append(reading.name)
        line = Line(reading.axis, reading.at, "" if readings[0] == reading.name else reading.name)
        found.setdefault(line, {})[reading.column, effect.quantity] = effect
    return found


def all_differences(described: Map, found: Sequence[Effect]) -> Grid:
    """A line per cell, and in it every difference between roles, without its interval."""
    compared = [effect for effect in found if effect.p is not None and not effect.quantity.endswith(PLAIN)]
    quantities = list(dict.fromkeys(effect.quantity for effect in compared))
    columns = [(column, quantity) for column in COLUMNS for quantity in quantities]
    rows = []
    for line, effects in by_line(compared).items():
        where = [described.axes[line.axis].title, line.at, *([decoding_label(line.reading)] if line.reading else [])]
        rows.append(
            [": ".join(where[:2]) + "".join(f", {x}" for x in where[2:]), *(_mean(effects.get(c)) for c in columns)]
        )
    return Grid(["cell", *(f"{quantity_label(quantity)}, {column}" for column, quantity in columns)], rows)


def _axis(described: Map, name: str, found: Sequence[Effect]) -> Iterator[Block]:
    axis, here = described.axes[name], [effect for effect in found if effect.reading.axis == name]
    yield Heading(capital(axis.title))
    yield Paragraph(f"![{axis.title}]({name}.png)")
    yield _grid(described, here)
    yield Bullets(list(sentences(here)))


def _grid(described: Map, here: Sequence[Effect]) -> Grid:
    """A row per cell and reading: scores, differences with their intervals, tokens."""
    by_place = {(e.reading.at, e.reading.name, e.quantity): e for e in here}
    roles = list(described.methods)
    named = dict.fromkeys(e.quantity for e in here if e.p is not None)
    quantities = sorted(named, key=lambda quantity: quantity.endswith(PLAIN))
    rows = []
    for at, reading in dict.fromkeys((e.reading.at, e.reading.name) for e in here):
        effects = {quantity: by_place.get((at, reading, quantity)) for quantity in (*roles, *quantities)}
        scores = [effects[role] for role in roles]
        rows.append(
            [
                at,
                decoding_label(reading),
                *(number(effect.found.mean, 1) for effect in scores if effect),
                *(text for quantity in quantities for text in (_mean(effects[quantity]), _span(effects[quantity]))),
                *(number(effect.costs["pushes_per_sequence"], 2) for effect in scores if effect),
            ]
        )
    labels = [*map(role_label, roles), *(text for q in quantities for text in (quantity_label(q), INTERVAL))]
    return Grid(["cell", "decoding", *labels, *(f"tokens, {role_label(role)}" for role in roles)], rows)


def _mean(effect: Effect | None) -> str:
    """'+12.3', in bold where it is significant."""
    if effect is None:
        return "-"
    text = f"{'+' if round(effect.found.mean, 1) > 0 else ''}{number(effect.found.mean, 1)}"
    return f"**{text}**" if effect.significant else text


def _span(effect: Effect | None) -> str:
    return "-" if effect is None else f"{number(effect.found.low, 1)} to {number(effect.found.high, 1)}"


def sentences(here: Sequence[Effect]) -> Iterator[str]:
    """'SM vs. MLE, sampled: significantly better at a; b; worse at c; not significant at d', for each reading."""
    for quantity, reading in dict.fromkeys((e.quantity, e.reading.name) for e in here if e.p is not None):
        chosen = [e for e in here if (e.quantity, e.reading.name) == (quantity, reading)]
        places: dict[str, list[str]] = {}
        for effect in chosen:
            outcome = outcome_of(effect)
            said = f"significantly {outcome}" if outcome in ("better", "worse") else "not significant"
            places.setdefault(said, []).append(effect.reading.at)
        if len(places) == 1 and len(chosen) > 1:
            text = f"{next(iter(places))} in every cell"
        else:
            text = "; ".join(f"{said} at {enumerated(ats)}" for said, ats in places.items())
        yield f"{quantity_label(quantity)}, {decoding_label(reading)}: {text}"


def role_label(role: str) -> str:
    return role.upper()


def quantity_label(quantity: str) -> str:
    """'SM vs. MLE' for 'sm_minus_mle', 'SM vs. default' for a difference to the default cell."""
    first, second = quantity.split(MINUS)
    return f"{role_label(first)} vs. {'default' if second == PLAIN else role_label(second)}"
