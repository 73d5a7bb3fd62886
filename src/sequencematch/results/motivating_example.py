"""Appendix B: how three divergences see a model that leaks.

Data are sequences of length n from a Markov chain; the model is the same chain, but at each step it leaves
the data's support with probability eps. P is the data, Q the model. On the support Q = (1-eps)^n P, so the
algebra is exact. eps in (0, 1), n >= 1, either an array.
"""

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from sequencematch.results.theme import BLUE, GREEN, GREY, ORANGE, drawing, key, legend, title
from sequencematch.results.variants import DASHES

# Lengths n, leaks eps (one of the two is an array), and the label of the curve.
Curves = list[tuple]


def kl(n, eps):
    """KL(P||Q) = E_P[log P - log Q] = -n log(1 - eps). It is linear in n, so it stays small for long sequences.

    B.1 prints ``-n log Q(1 - eps)``; parentheses are missing there.
    """
    return -n * np.log1p(-eps)


def chi2(n, eps):
    """E_Q[(P/Q - 1)^2] = (1 - eps)^-n - 1. It is exponential in n, and finite.

    This is the expectation under the model, as B.3 prints it (without evaluating it). The expectation under the data,
    E_P[(Q/P - 1)^2], would not see the leak, and the sum of (Q - P)^2/P is infinite like the reverse KL. Values above
    the range of float64 are returned as infinity.
    """
    with np.errstate(over="ignore"):
        return np.expm1(kl(n, eps))


def plot_motivating_example(lengths: Sequence[int], leaks: Sequence[float], path: Path) -> None:
    """Exact divergences of appendix B: over n for each of ``leaks``, and over eps for each of ``lengths``."""
    n = np.arange(1, max(lengths) + 1)
    eps = np.geomspace(min(leaks) / 10, min(0.9, 5 * max(leaks)), 200)
    over_n: Curves = [(n, leak, f"ε = {leak:g}") for leak in leaks]
    over_eps: Curves = [(length, eps, f"n = {length}") for length in lengths]
    # The KL lies under the chi2 where both are small, so it is drawn wider.
    divergences: dict[str, tuple[Callable, dict]] = {
        "KL(P‖Q) = −n log(1 − ε)": (kl, {"color": BLUE, "linewidth": 3}),
        "χ² = (1 − ε)⁻ⁿ − 1": (chi2, {"color": ORANGE, "linewidth": 1.2}),
    }
    lowest = min(kl(1, min(leaks)), kl(min(lengths), eps[0]))
    with drawing(path, 2, 1, 4.5, 3.4, sharey=True) as (figure, grid):
        panels = grid[0]
        for panel, curves, name in zip(panels, (over_n, over_eps), ("length n", "leak per step ε"), strict=True):
            for (length, leak, label), dashes in zip(curves, cycle(DASHES), strict=False):
                x = length if np.ndim(length) else leak
                for divergence, line in divergences.values():
                    panel.plot(x, divergence(length, leak), linestyle=dashes, **line)
                panel.plot([], [], color=GREY, linestyle=dashes, label=label)
            panel.set(xlabel=name, xscale="log", yscale="log", ylim=(lowest / 2, 3e6))
            panel.legend(loc="upper left")
            _infinite(panel, "reverse KL(Q‖P) = ∞ for every n and ε")
        panels[0].set_ylabel("divergence of Q from P")
        handles = [
            key(name, line["color"], marker="", linestyle="solid", linewidth=line["linewidth"])
            for name, (_, line) in divergences.items()
        ]
        legend(figure, handles)
        title(figure, "Data P, and a model Q that leaves P's support with probability ε per step")


def _infinite(panel, text: str) -> None:
    """A divergence that is infinite everywhere: a line along the upper edge, with arrows out of the panel."""
    edge = {"transform": panel.transAxes, "color": GREEN, "clip_on": False}
    panel.plot([0, 1], [1, 1], linewidth=2, **edge)
    panel.plot(np.linspace(0.1, 0.9, 5), [1.02] * 5, "^", markersize=5, **edge)
    panel.set_title(text, color=GREEN, pad=12)
