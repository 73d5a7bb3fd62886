"""How the report's figures look: SVG with real text, and colours that a page may set (dark pages do).

matplotlib draws with the light colours below; in the file each stands as ``var(--name, colour)``, so that an SVG
opened by itself looks the same, and one inside a page takes the page's colours.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sequencematch.store.files import write_atomically, write_text_atomically

INK, SOFT, GRID = "#1f2328", "#57606a", "#d8dde3"
# Okabe and Ito's palette, distinct under the common kinds of colour blindness, darkened to 3:1 on white.
COLOURS = ("#57606b", "#0072b2", "#c45500", "#008a65", "#b25a8f", "#8a6d00")
VARIABLES = {INK: "ink", SOFT: "soft", GRID: "grid"} | {c: f"series-{i}" for i, c in enumerate(COLOURS)}
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sequencematch",
}


@contextmanager
def drawing(path: Path, columns: int, rows: int, width: float, height: float, **options) -> Iterator[tuple]:
    """A figure and its grid of panels, to draw on; written to ``path`` (SVG or PNG) once the block ends well.

    width, height: inches of one panel; options: as of ``plt.subplots``.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        size = (width * columns, height * rows)
        figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
        figure.get_layout_engine().set(h_pad=0.1)
        try:
            yield figure, grid
            if path.suffix == ".png":
                image = io.BytesIO()
                figure.savefig(image, format="png", dpi=160, facecolor="white")
                write_atomically(path, image.getvalue())
            else:
                text = io.StringIO()
                figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
                write_text_atomically(path, _themed(text.getvalue()))
        finally:
            plt.close(figure)


def _themed(svg: str) -> str:
    """The drawing alone, without XML and document headers, its colours replaced by variables."""
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.S)
    for colour, name in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name}, {colour})")
    return svg.replace("font: 9px 'sans-serif'", "font: 9px sans-serif")
