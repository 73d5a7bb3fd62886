"""The map as a page: an overview, every difference, then each axis with its scores and costs."""

from collections import Counter
from collections.abc import Iterator, Sequence

from sequencematch.results.estimates import LEVEL, Effect
from sequencematch.results.measure import differences
from sequencematch.results.pages import Page
from sequencematch.results.words import (
    INTERVAL,
    Grid,
    decoding_label,
    enumerated,
    number,
    plain,
    signed,
    signed_bold,
    span,
)
from sequencematch.settings.map import COLUMNS, DEFAULT, MINUS, Map, Reading

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
