"""The figures. matplotlib is imported on use, so that what draws nothing starts fast."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sequencematch.report import motivating_example
from sequencematch.scores.comparison import Comparison, Variant
from sequencematch.scores.quantities import describe
from sequencematch.tables.scores import SCORES, Cell
from sequencematch.tables.texts import MASKED, REFERENCE
from sequencematch.tables.wording import decoding_label, find_cell, paper_label

# Okabe and Ito's palette, distinct under the common kinds of colour blindness.
GREY, COLOURS = "#555555", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}


def plot_scores(cells: Sequence[Cell], comparison: Comparison, heading: str, path: Path) -> None:
    """The score of each variant, a panel per decoding: mean and 95% interval, and the paper's mean and spread."""
    import matplotlib.pyplot as plt

    variants, decodings, metric = comparison.variants, comparison.decodings, SCORES[comparison.family][0]
    places = {variant: -row for row, variant in enumerate(variants)}
    etas = [0, *sorted({variant.eta for variant in variants if variant.eta})]
    colours = {eta: COLOURS[(i - 1) % len(COLOURS)] if eta else GREY for i, eta in enumerate(etas)}
    scores = [cell for cell in cells if cell.quantity == metric]
    with plt.rc_context(STYLE):
        size = (1.6 + 2.1 * len(decodings), 1.6 + 0.42 * len(variants))
        figure, grid = plt.subplots(
            1, len(decodings), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
        )
        for panel, decoding in zip(grid[0], decodings, strict=True):
            panel.set(title=_plain(decoding_label(decoding)), xlabel=describe(metric).label)
            panel.grid(axis="x", color="#dddddd", linewidth=0.6)
            panel.tick_params(axis="y", length=0)
            for cell in (cell for cell in scores if cell.decoding == decoding):
                y, colour = places[cell.variant], colours[cell.variant.eta]
                _point(panel, cell.mean, cell.low, cell.high, y + 0.12, marker="o", color=colour)
                if cell.paper:
                    spread = cell.paper.spread or 0
                    low, high = cell.paper.value - spread, cell.paper.value + spread
                    _point(panel, cell.paper.value, low, high, y - 0.22, marker="D", color="black", mfc="white")
        grid[0, 0].set_yticks(list(places.values()), map(_name, variants))
        grid[0, 0].set_ylim(-len(variants) + 0.4, 0.6)
        figure.suptitle(heading, fontsize=10)
        ours = plt.Line2D([], [], marker="o", color=GREY, label="this work: mean, 95% interval")
        paper = plt.Line2D([], [], marker="D", color="black", mfc="white", label=f"{paper_label(cells)}: mean ± spread")
        handles = [ours, paper] if any(cell.paper for cell in scores) else [ours]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        save(figure, path)


def plot_text(cells: Sequence[Cell], comparison: Comparison, heading: str, path: Path) -> None:
    """MAUVE against perplexity of every decoding; and what biasing ``<bkspc>`` does, where that was measured."""
    import matplotlib.pyplot as plt

    colours = dict(zip(comparison.variants, itertools.cycle((GREY, *COLOURS)), strict=False))
    biases = sorted((bias, name) for name in comparison.decodings if (bias := _bias(name)) is not None)
    dial = len(biases) > 1
    with plt.rc_context(STYLE):
        figure, panels = plt.subplot_mosaic(
            [["texts", "mauve"], ["texts", "pops_per_sequence"]] if dial else [["texts"]],
            figsize=(10 if dial else 6.5, 5.6),
            width_ratios=[1.5, 1] if dial else None,
            layout="constrained",
        )
        real = find_cell(cells, REFERENCE, "", "perplexity")
        if real:
            panels["texts"].axvline(real.mean, color="black", linewidth=1, linestyle="dashed")
        shapes = _plot_texts(panels["texts"], cells, comparison, colours)
        for name in ("mauve", "pops_per_sequence") if dial else ():
            _plot_dial(panels[name], cells, biases, name, colours)
        shown = [_key("", "real text", color="black", linestyle="dashed")] if real else []
        shown += [_key("s", _name(variant), color=colour) for variant, colour in colours.items()]
        shown += [_key(shape, _plain(decoding_label(name)), mfc="white") for name, shape in shapes.items()]
        figure.legend(handles=shown, loc="outside lower center", ncols=5, frameon=False)
        figure.suptitle(heading, fontsize=10)
        save(figure, path)


def _plot_texts(panel, cells: Sequence[Cell], comparison: Comparison, colours: dict[Variant, str]) -> dict[str, str]:
    """A point per variant and decoding, mean ± standard deviation; the shape that stands for each decoding."""
    shapes = dict(zip(comparison.decodings, itertools.cycle("os^vD<>PX*pH"), strict=False))
    for variant, colour in colours.items():
        for decoding, shape in shapes.items():
            x, y = (find_cell(cells, variant, decoding, name) for name in ("perplexity", "mauve"))
            if x and y:
                panel.errorbar(x.mean, y.mean, y.sd, x.sd, color=colour, elinewidth=0.6, alpha=0.25, fmt="none")
                panel.plot(x.mean, y.mean, shape, color=colour, markersize=6, mec="white", mew=0.6)
    panel.set(xlabel="perplexity under the judge", ylabel="MAUVE", xscale="log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("{x:g}")
    panel.grid(color="#dddddd", linewidth=0.6)
    return shapes


def _plot_dial(panel, cells: Sequence[Cell], biases: Sequence, quantity: str, colours: dict[Variant, str]) -> None:
    """A quantity against the number added to the logit of ``<bkspc>``, at the left end with ``<bkspc>`` ruled out."""
    places = range(len(biases))
    for variant, colour in colours.items():
        found = [find_cell(cells, variant, name, quantity) for _, name in biases]
        line = [(place, cell) for place, cell in zip(places, found, strict=True) if cell]
        if len(line) > 1:
            x, y, sd = zip(*((place, cell.mean, cell.sd or 0) for place, cell in line), strict=True)
            panel.errorbar(x, y, sd, color=colour, marker="o", markersize=4, linewidth=1.2, elinewidth=0.7)
    panel.set_xticks(places, ["masked" if bias == -np.inf else f"{bias:+g}" if bias else "0" for bias, _ in biases])
    panel.set(xlabel="added to the logit of <bkspc>", ylabel=describe(quantity).label)
    panel.grid(color="#dddddd", linewidth=0.6)


def _bias(decoding: str) -> float | None:
    """What a decoding adds to the logit of ``<bkspc>``; None where it differs from sampling in something else."""
    kind, _, value = decoding.partition("=")
    if kind == "bkspc_bias":
        return float(value)
    return {"sampled": 0.0, MASKED: -np.inf}.get(decoding)


def plot_motivating_example(lengths: Sequence[int], leaks: Sequence[float], path: Path) -> None:
    """Exact divergences of appendix B: over n for each of ``leaks``, and over eps for each of ``lengths``."""
    import matplotlib.pyplot as plt

    n = np.arange(1, max(lengths) + 1)
    eps = np.geomspace(min(leaks) / 10, min(0.9, 5 * max(leaks)), 200)
    over_n = [(n, leak, f"ε = {leak:g}") for leak in leaks]
    over_eps = [(length, eps, f"n = {length}") for length in lengths]
    # The KL lies under the chi2 where both are small, so it is drawn wider.
    divergences = {
        "KL(P‖Q) = −n log(1 − ε)": (motivating_example.kl, {"color": COLOURS[0], "linewidth": 3}),
        "χ² = (1 − ε)⁻ⁿ − 1": (motivating_example.chi2, {"color": COLOURS[1], "linewidth": 1.2}),
    }
    lowest = min(motivating_example.kl(1, min(leaks)), motivating_example.kl(min(lengths), eps[0]))
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(9, 4.4), sharey=True, layout="constrained")
        for panel, curves, name in zip(panels, (over_n, over_eps), ("length n", "leak per step ε"), strict=True):
            for (length, leak, label), dashes in zip(curves, _dashes(len(curves)), strict=True):
                x = length if np.ndim(length) else leak
                for divergence, line in divergences.values():
                    panel.plot(x, divergence(length, leak), linestyle=dashes, **line)
                panel.plot([], [], color=GREY, linestyle=dashes, label=label)
            panel.set(xlabel=name, xscale="log", yscale="log", ylim=(lowest / 2, 3e6))
            panel.grid(color="#dddddd", linewidth=0.6)
            panel.legend(loc="upper left", frameon=False)
            _infinite(panel, "reverse KL(Q‖P) = ∞ for every n and ε")
        panels[0].set_ylabel("divergence of Q from P")
        handles = [plt.Line2D([], [], label=name, **line) for name, (_, line) in divergences.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle("Data P, and a model Q that leaves P's support with probability ε per step", fontsize=10)
        save(figure, path)


def _infinite(panel, text: str) -> None:
    """A divergence that is infinite everywhere: a line along the upper edge, with arrows out of the panel."""
    edge = {"transform": panel.transAxes, "color": COLOURS[2], "clip_on": False}
    panel.plot([0, 1], [1, 1], linewidth=2, **edge)
    panel.plot(np.linspace(0.1, 0.9, 5), [1.02] * 5, "^", markersize=5, **edge)
    panel.set_title(text, color=COLOURS[2], pad=12)


def _dashes(count: int) -> list:
    return [("solid", "dashed", "dotted", "dashdot")[i % 4] for i in range(count)]


def _key(shape: str, label: str, color: str = GREY, linestyle: str = "none", **marker):
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=shape, linestyle=linestyle, color=color, label=label, **marker)


def _name(variant: Variant) -> str:
    return f"{variant.label}, η = {variant.eta:g}" if variant.eta else variant.label


def _plain(text: str) -> str:
    """Without the marks of Markdown."""
    return text.replace("`", "")


def _point(panel, mean: float, low: float, high: float, y: float, color: str, **marker) -> None:
    panel.plot([low, high], [y, y], color=color, linewidth=1.5, solid_capstyle="butt")
    panel.plot(mean, y, color=color, linestyle="none", markersize=5, **marker)


def save(figure, path: Path, dpi: int = 160) -> None:
    """Write a PNG, whole or not at all; ``dpi``: pixels per inch."""
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format="png", dpi=dpi)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        plt.close(figure)
