"""How every figure looks: one style, sizes that a page can show, titles and legends that are never cut off.

A figure is a PNG of at most 1,260 pixels, or an SVG with real text whose colours a page may set (dark pages do).
matplotlib draws with the light colours below; in an SVG each becomes ``var(--name, colour)``, so that the file
looks the same by itself and takes the page's colours inside a page.
"""

import io
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sequencematch.results.estimates import Variant
from sequencematch.store.files import write_atomically, write_text_atomically

# Inches; with DPI, a PNG has 910 to 1,260 pixels across, and its text is legible where a page shows it at 838.
NARROWEST, WIDEST, DPI = 6.5, 9.0, 140
INK, SOFT, GRID, PAPER = "#1f2328", "#57606a", "#d8dde3", "#ffffff"
# Okabe and Ito's palette, distinct under the common kinds of colour blindness, darkened to 3:1 on white; and a red.
COLOURS = ("#57606b", "#0072b2", "#c45500", "#008a65", "#b25a8f", "#8a6d00", "#a3123a")
GREY, BLUE, ORANGE, GREEN, PURPLE, OLIVE, CRIMSON = COLOURS
VARIABLES = {INK: "ink", SOFT: "soft", GRID: "grid", PAPER: "paper"} | {c: f"series-{i}" for i, c in enumerate(COLOURS)}
STYLE: dict[Any, Any] = {
    **dict.fromkeys(("font.size", "axes.titlesize"), 9),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.labelcolor", "axes.titlecolor", "text.color"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), SOFT),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "svg.fonttype"), "none"),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "svg.hashsalt": "sequencematch",
}


@contextmanager
def drawing(path: Path, count: int, across: int, width: float, height: float, **options) -> Iterator[tuple]:
    """A figure and its panels in their order, written to ``path`` (SVG or PNG) when the block ends without an error.

    count, across: panels, and how many stand side by side at most. width, height: inches of one panel; the figure is at
    most ``WIDEST`` inches wide. options: of ``plt.subplots``.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    vector, columns = path.suffix == ".svg", min(across, count)
    rows = -(-count // columns)
    with plt.rc_context(STYLE):
        size = (min(WIDEST, max(width * columns, 0 if vector else NARROWEST)), height * rows)
        figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
        figure.get_layout_engine().set(h_pad=0.1)
        try:
            for unused in grid.flat[count:]:
                unused.set_axis_off()
            yield figure, list(grid.flat[:count])
            if vector:
                write_text_atomically(path, to_svg(figure))
            else:
                image = io.BytesIO()
                figure.savefig(image, format="png", dpi=DPI, facecolor="white")
                write_atomically(path, image.getvalue())
        finally:
            plt.close(figure)


def to_svg(figure) -> str:
    """A figure as SVG: the drawing alone, without XML and document headers, its colours replaced by variables."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.S)
    for colour, name in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name}, {colour})")
    return svg.replace("font: 9px 'sans-serif'", "font: 9px sans-serif")


def title(figure, text: str, note: str = "", size: float = 9.5) -> None:
    """A title at the top left and a note below it, both wrapped to the figure's width; the figure grows by both."""
    made = figure.suptitle("", x=0.01, ha="left", fontsize=size)
    for columns in range(150, 20, -5):
        lines = [*textwrap.wrap(text, columns), *textwrap.wrap(note, columns)]
        made.set_text("\n".join(lines))
        extent = made.get_window_extent(figure.canvas.get_renderer())
        if extent.width < 0.97 * figure.bbox.width:
            break
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi + 0.05)


def legend(figure, handles: Sequence) -> None:
    """A legend below the panels, in as many columns as fit; the figure grows by its height."""
    for handle in handles:
        handle.set_label(textwrap.fill(handle.get_label(), 60))
    for columns in range(min(len(handles), 6), 0, -1):
        made = figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        extent = made.get_window_extent(figure.canvas.get_renderer())
        if extent.width < 0.97 * figure.bbox.width:
            break
        made.remove()
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)


def key(label: str, colour: str = SOFT, **line):
    """An entry of a legend: a marker, a line or both."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 5} | line
    return Line2D([], [], color=colour, label=label, **look)


# MLE with a decoding rule that deletes unlikely tokens; no method, but drawn as one.
RULE = "rule"
METHODS = {"mle": GREY, "uls": PURPLE, "bc": BLUE, "sm": ORANGE, "dagger": OLIVE, RULE: GREEN}
OTHERS = (CRIMSON, PURPLE, OLIVE)  # of variants of a method such as sm_js, in the order of their names
DASHES = ("solid", "dashed", "dotted", "dashdot")


def colours_of(methods: Collection[str]) -> dict[str, str]:
    """A colour for each method: the same in every figure for those of the paper."""
    others = sorted(set(methods) - METHODS.keys())
    return METHODS | {method: OTHERS[i % len(OTHERS)] for i, method in enumerate(others)}


def looks_of(variants: Collection[Variant]) -> dict[Variant, tuple[str, int]]:
    """Each variant's colour, and how many noise levels of its method are above its own."""
    colours = colours_of({variant.method for variant in variants})
    return {v: (colours[v.method], sum(o.method == v.method and o.eta > v.eta for o in variants)) for v in variants}


def printable(text: str) -> str:
    """The text without control characters, which an untrained model writes and which HTML and terminals cannot show."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)
