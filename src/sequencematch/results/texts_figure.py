"""The figure of table 8: MAUVE against perplexity, a small panel per decoding; and what biasing ``<bkspc>`` does."""

import math
from collections.abc import Sequence
from pathlib import Path

from sequencematch.results.cells import REFERENCE, Table
from sequencematch.results.quantities import describe
from sequencematch.results.scores_figure import look_of
from sequencematch.results.texts import MASKED
from sequencematch.results.theme import INK, drawing, key, legend, title, wrapped
from sequencematch.results.words import capital, decoding_label, sample_size, without_marks

ACROSS = 4  # panels side by side
NOTE = "Means over seeds ({}); hollow: a lower noise level η of the same method."


def plot_texts(table: Table, heading: str, path: Path) -> None:
    """Means alone: the standard deviations between seeds are in the table."""
    biases = biases_of(table)
    dialled = [name for _, name in biases if name != "sampled"] if len(biases) > 1 else []
    # The perplexity of real text belongs to no decoding.
    decodings = [name for name in table.decodings_of("perplexity") if name and name not in dialled]
    dials = ("mauve", "pops_per_sequence") if dialled else ()
    rows = -(-len(decodings) // ACROSS)
    with drawing(path, ACROSS, rows + bool(dials), 2.25, 1.9) as (figure, grid):
        _texts(grid.flat[: len(decodings)], table, decodings)
        for place in grid.flat[len(decodings) :]:
            place.set_axis_off()
        for place, quantity in zip(grid[-1], dials, strict=False):
            place.set_axis_on()
            _dial(place, table, biases, quantity)
        handles = [key(variant.name, **_marker(*look)) for variant, look in look_of(table).items()]
        if table.find(REFERENCE, "", "perplexity"):
            handles.append(key("perplexity of real text", INK, marker="", linestyle="dashed"))
        legend(figure, handles)
        title(figure, heading, NOTE.format(sample_size(table)))


def _marker(colour: str, filled: bool) -> dict:
    return {"colour": colour, "markerfacecolor": colour if filled else "white", "markersize": 5.5}


def _texts(places: Sequence, table: Table, decodings: Sequence[str]) -> None:
    """A panel per decoding with the same axes: perplexity under the judge, and MAUVE."""
    real = table.find(REFERENCE, "", "perplexity")
    looks = look_of(table)
    measured = [c for c in table.cells if c.decoding in decodings and c.quantity in ("perplexity", "mauve")]
    reach = {name: [c.mean for c in measured if c.quantity == name] or [1.0] for name in ("perplexity", "mauve")}
    across = [*reach["perplexity"], *([real.mean] if real else [])]
    margin = 0.08 * (max(reach["mauve"]) - min(reach["mauve"])) or 0.05
    for i, (place, decoding) in enumerate(zip(places, decodings, strict=True)):
        for variant, (colour, filled) in looks.items():
            x, y = (table.find(variant, decoding, name) for name in ("perplexity", "mauve"))
            if x and y:
                face = colour if filled else "white"
                place.plot(x.mean, y.mean, "o", color=colour, markerfacecolor=face, markersize=5.5)
        if real:
            place.axvline(real.mean, color=INK, linewidth=1, linestyle="dashed")
        place.set(xscale="log", xlim=(0.85 * min(across), 1.18 * max(across)))
        place.set_ylim(min(reach["mauve"]) - margin, max(reach["mauve"]) + margin)
        place.xaxis.set_major_formatter("{x:g}")
        place.xaxis.set_minor_formatter("")
        place.set_xticks(_ticks(across))
        place.set_title(wrapped(without_marks(decoding_label(decoding)), 26), loc="left")
        place.set_xlabel("perplexity")
        if i % ACROSS == 0:
            place.set_ylabel("MAUVE")


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers within the range of values: at most four."""
    low, high = 0.85 * min(values), 1.18 * max(values)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [s * 10.0**e for e in range(-3, 9) for s in steps if low <= s * 10.0**e <= high]
        if len(found) <= 4:
            return found
    return found[:: max(1, len(found) // 3)]


def _dial(place, table: Table, biases: Sequence[tuple[float, str]], quantity: str) -> None:
    """A quantity against the number added to the logit of ``<bkspc>``, with ``<bkspc>`` ruled out at the left end."""
    for variant, (colour, filled) in look_of(table).items():
        found = [(x, table.find(variant, name, quantity)) for x, (_, name) in enumerate(biases)]
        line = [(x, cell.mean) for x, cell in found if cell]
        if len(line) > 1:
            x, y = zip(*line, strict=True)
            style = "solid" if filled else "dashed"
            face = colour if filled else "white"
            place.plot(x, y, "o", color=colour, markerfacecolor=face, linestyle=style, markersize=4, linewidth=1)
    labels = ["none" if bias == -math.inf else f"{bias:+g}" if bias else "0" for bias, _ in biases]
    place.set_xticks(range(len(biases)), labels)
    place.set_title(capital(describe(quantity).label), loc="left")
    place.set_xlabel("added to the logit of <bkspc>")


def biases_of(table: Table) -> list[tuple[float, str]]:
    """What decodings that otherwise sample add to the logit of ``<bkspc>``, ascending, and their names."""
    found = [(bias, name) for name in table.decodings_of("perplexity") if (bias := _bias(name)) is not None]
    return sorted(found)


def _bias(decoding: str) -> float | None:
    kind, _, value = decoding.partition("=")
    if kind == "bkspc_bias" and "+" not in decoding:
        return float(value)
    return {"sampled": 0.0, MASKED: -math.inf}.get(decoding)
