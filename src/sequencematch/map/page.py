"""The map as a page: what stands at a glance, then every axis with its scores, differences and costs."""

from collections import Counter
from collections.abc import Iterator, Sequence

from sequencematch.map.effects import LEVEL, Effect, differences
from sequencematch.settings.map import COLUMNS, MINUS, PLAIN, Map, Reading
from sequencematch.tables.document import Block, Bullets, Grid, Heading, Paragraph
from sequencematch.tables.wording import decoding_label, number

# How a difference comes out, from clearly above to clearly below.
VERDICTS = ("above", "above alone", "undecided", "below alone", "below")


def page(described: Map, found: Sequence[Effect], seeds: Sequence[int], missing: Sequence[Reading] = ()) -> list[Block]:
    """``missing``: what is on the map, but not measured yet."""
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
            "Comparisons by outcome, each counted once: *above* and *below* stand after the correction, *above alone* "
            "and *below alone* by their own 95% interval only."
        ),
        glance(found),
        *axes,
    ]


def _caption(described: Map, found: Sequence[Effect], seeds: Sequence[int]) -> str:
    compared = differences(found)
    standing = sum(effect.stands for effect in compared)
    default = ", ".join(f"{role_label(role)}: `{method}`" for role, method in described.methods.items())
    return (
        f"Default cell: task `{described.task}` at eta {described.eta:g} ({default}); {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}), {found[0].questions} questions. Scores are points: accuracy in per cent, or "
        "BLEU. Intervals are 95% bootstrap intervals over seeds and questions, corrected for few seeds. "
        f"{len(compared)} paired comparisons were made; {standing} of them stand, in bold: by the method of Benjamini "
        f"and Hochberg over all of them, so that of those that stand at most {LEVEL:.0%} are false on average. Tokens "
        "are those written per answer, deleted ones and answers not chosen included: what decoding costs."
    )


def glance(found: Sequence[Effect]) -> Grid:
    """How many comparisons of each kind came out how."""
    compared = differences(found)
    rows = []
    for quantity in dict.fromkeys(effect.quantity for effect in compared):
        for column in COLUMNS:
            chosen = [e for e in compared if (e.quantity, e.reading.column) == (quantity, column)]
            counts = Counter(map(verdict_of, chosen))
            if chosen:
                rows.append([quantity_label(quantity), column, *(str(counts[verdict]) for verdict in VERDICTS)])
    return Grid("Comparisons by outcome", ["difference", "decoding", *VERDICTS], rows)


def verdict_of(effect: Effect) -> str:
    """One of ``VERDICTS``."""
    found = effect.found
    if effect.stands:
        return "above" if found.mean > 0 else "below"
    if found.low > 0:
        return "above alone"
    return "below alone" if found.high < 0 else "undecided"


def _axis(described: Map, name: str, found: Sequence[Effect]) -> Iterator[Block]:
    axis, here = described.axes[name], [effect for effect in found if effect.reading.axis == name]
    yield Heading(f"{axis.title[0].upper()}{axis.title[1:]}")
    yield Paragraph(f"![{axis.title}]({name}.png)")
    yield _grid(axis.title, described, here)
    yield Bullets(list(sentences(here)))


def _grid(title: str, described: Map, here: Sequence[Effect]) -> Grid:
    """A row per cell and reading: scores, differences, tokens."""
    by_place = {(e.reading.at, e.reading.name, e.quantity): e for e in here}
    roles = list(described.methods)
    named = dict.fromkeys(e.quantity for e in here if e.p is not None)
    quantities = sorted(named, key=lambda quantity: quantity.endswith(PLAIN))
    rows = []
    for at, reading in dict.fromkeys((e.reading.at, e.reading.name) for e in here):
        effects = {quantity: by_place.get((at, reading, quantity)) for quantity in (*roles, *quantities)}
        rows.append(
            [
                at,
                decoding_label(reading),
                *(number(effects[role].found.mean, 1) for role in roles),
                *(difference(effects[quantity]) for quantity in quantities),
                " / ".join(number(effects[role].costs["pushes_per_sequence"], 2) for role in roles),
            ]
        )
    labels = [*map(role_label, roles), *map(quantity_label, quantities)]
    return Grid(title, ["cell", "decoding", *labels, f"tokens ({' / '.join(map(role_label, roles))})"], rows)


def difference(effect: Effect | None) -> str:
    """'+12.3 (10.1 to 14.5)', in bold where it stands."""
    if effect is None:
        return "-"
    found = effect.found
    sign = "+" if round(found.mean, 1) > 0 else ""
    bold = "**" * effect.stands
    return f"{bold}{sign}{number(found.mean, 1)} ({number(found.low, 1)} to {number(found.high, 1)}){bold}"


def sentences(here: Sequence[Effect]) -> Iterator[str]:
    """'SM - MLE, sampled: above at a; b; below at c; not told apart at d', for each difference and reading."""
    for quantity, reading in dict.fromkeys((e.quantity, e.reading.name) for e in here if e.p is not None):
        chosen = [e for e in here if (e.quantity, e.reading.name) == (quantity, reading)]
        places = {}
        for effect in chosen:
            how = verdict_of(effect)
            places.setdefault(how if how in ("above", "below") else "not told apart", []).append(effect.reading.at)
        if len(places) == 1 and len(chosen) > 1:
            said = f"{next(iter(places))} everywhere"
        else:
            said = "; ".join(f"{how} at {'; '.join(ats)}" for how, ats in places.items())
        yield f"{quantity_label(quantity)}, {decoding_label(reading)}: {said}"


def role_label(role: str) -> str:
    return role.upper()


def quantity_label(quantity: str) -> str:
    """'SM - MLE' for 'sm_minus_mle', 'SM - default' for a difference to the default cell."""
    first, second = quantity.split(MINUS)
    return f"{role_label(first)} - {'default' if second == PLAIN else role_label(second)}"
