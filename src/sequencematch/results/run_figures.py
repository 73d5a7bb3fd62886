"""Figures of runs: how they were learned, where they delete, and what they read; and what a divergence sees.

Also a completion as it was typed, and appendix B's motivating example.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from textwrap import fill

import numpy as np

from sequencematch.errors import UserError
from sequencematch.results import theme
from sequencematch.results.deletions import BKSPC, Removal, steps
from sequencematch.results.estimates import Variant, grouped
from sequencematch.results.sound import sound
from sequencematch.store.files import read_csv

# Columns of metrics.csv worth a panel, each with its heading; what no run has is left out.
BASE = "base"
PANELS = {
    BASE: "base model: loss",
    "loss": "loss (each method's own)",
    "validation_loss": "validation loss",
    "sm_loss": "SequenceMatch loss",
    "r_data": "r on data",
    "r_rollout": "r on rollouts",
    "v_tail": "V of the last state",
    "pop_rate": "backspaces per rollout action",
    "gradient_norm": "gradient norm",
}
ACROSS = 3  # panels side by side


@dataclass(frozen=True)
class Curve:
    """One training run: what it was (None: the base model), and steps and values by panel, float [2, rows]."""

    variant: Variant | None
    columns: dict[str, np.ndarray]


def read_curve(model: Path, variant: Variant | None = None) -> Curve:
    """The curves in a model folder; of a base model, which is no variant, the loss in a panel of its own."""
    rows = read_csv(model / "metrics.csv", "train the model again")
    columns = {panel: panel for panel in PANELS} if variant else {BASE: "loss"}
    with sound(model / "metrics.csv", "metrics of a training", "train it again"):
        found = {panel: [(row["step"], row[name]) for row in rows if row.get(name)] for panel, name in columns.items()}
        curves = {panel: [(int(step), float(value)) for step, value in some] for panel, some in found.items() if some}
    return Curve(variant, {panel: np.array(some).T for panel, some in curves.items()})


def plot_learning_curves(curves: Sequence[Curve], path: Path) -> None:
    """A panel per quantity: the mean over seeds of each variant, and the range of its seeds."""
    names = [name for name in PANELS if any(name in curve.columns for curve in curves)]
    if not names:
        raise UserError("no run has a metric to draw: train for at least one step")
    variants = sorted({c.variant for c in curves if c.variant}, key=lambda variant: variant.place)
    looks = theme.looks_of(variants).items()
    lines = {v: (colour, theme.DASHES[above % len(theme.DASHES)]) for v, (colour, above) in looks}
    with theme.drawing(path, len(names), ACROSS, 3.1, 2.0) as (figure, drawn):
        for panel, name in zip(drawn, names, strict=True):
            panel.set_title(PANELS[name])
            for variant in (None, *variants):
                runs = [c.columns[name] for c in curves if c.variant == variant and name in c.columns]
                if runs:
                    _curve(panel, runs, *(lines[variant] if variant else (theme.OLIVE, "solid")))
        for panel in drawn[-ACROSS:]:
            panel.set_xlabel("gradient steps")
        keys = [theme.key(v.name, colour, marker="", linestyle=dashes) for v, (colour, dashes) in lines.items()]
        theme.legend(figure, keys)


def _curve(panel, runs: Sequence[np.ndarray], colour: str, dashes: str) -> None:
    """Seeds log at the same steps; where one has more rows, the shared ones are drawn."""
    steps = runs[0][0]
    for other, _ in runs[1:]:
        steps = np.intersect1d(steps, other)
    values = np.stack([v[np.isin(s, steps)] for s, v in runs])
    marker = {"marker": "o", "markersize": 3} if len(steps) < 3 else {}
    panel.plot(steps, values.mean(0), linewidth=1.3, color=colour, linestyle=dashes, **marker)
    panel.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)


BARS = 24  # bars at most; each may hold several places
SIDE_BY_SIDE = 4


def plot_backspaces(found: Mapping[Variant, tuple[int, Sequence[Removal]]], path: Path, known: bool) -> None:
    """A panel per variant, of (sequences, all their removals); ``known``: does the reference say which were wrong?"""
    kinds = {"wrong token": theme.GREEN, "right token": theme.ORANGE} if known else {"deleted token": theme.BLUE}
    deepest = max((r.place for _, removed in found.values() for r in removed), default=0)
    width = deepest // BARS + 1
    edges = np.arange(0, deepest + width + 1, width)
    with theme.drawing(path, len(found), SIDE_BY_SIDE, 2.4, 2.1, sharex=True, sharey=True) as (figure, drawn):
        for panel, (variant, (sequences, removed)) in zip(drawn, found.items(), strict=True):
            below = np.zeros(len(edges) - 1)
            for kind, colour in kinds.items():
                places = [r.place for r in removed if not known or r.wrong == (kind == "wrong token")]
                heights = np.histogram(places, edges)[0] / sequences
                panel.bar(edges[:-1], heights, width * 0.9, below, align="edge", color=colour, label=kind)
                below += heights
            wrong = f"{sum(r.wrong for r in removed)} of {len(removed)} of a wrong token"
            count = wrong if known else f"{len(removed)} in all"
            panel.set_title(f"{fill(variant.name, 22)}\n{fill(count, 28)}")
            if not removed:
                panel.text(0.5, 0.5, "no backspace", transform=panel.transAxes, ha="center", color=theme.SOFT)
            panel.grid(axis="x", visible=False)
        for panel in drawn[::SIDE_BY_SIDE]:
            panel.set_ylabel("backspaces per sequence")
        for panel in drawn[-SIDE_BY_SIDE:]:
            panel.set_xlabel("place in the completion")
        theme.legend(figure, drawn[0].get_legend_handles_labels()[0])


PROMPT, ACTIONS = 5, 16  # tokens of the prompt and actions drawn: more than these cannot be read


def shorten(prompt: Sequence[str], actions: Sequence[str]) -> tuple[list[str], list[str]]:
    """The prompt's last tokens and the first actions, not ending between a wrong token and its ``<bkspc>``."""
    actions = list(actions[:ACTIONS] if list(actions[ACTIONS : ACTIONS + 1]) != [BKSPC] else actions[: ACTIONS - 1])
    return list(prompt[-PROMPT:]), actions


def plot_masks(traced: dict, path: Path) -> None:
    """Both forms of a ``trace``, side by side: rows look at columns; deleted tokens in another colour."""
    forms = {"state_tree": "state tree: one node per pushed token", "algorithm_2": "Algorithm 2: copies at <bkspc>"}
    longest = max(len(traced[form]["token"]) for form in forms)
    size = 1.4 + 0.2 * longest
    with theme.drawing(path, 2, 2, size, size) as (figure, panels):
        for panel, (form, title) in zip(panels, forms.items(), strict=True):
            _mask(panel, traced[form], longest, len(traced["prompt"]))
            panel.set_title(title)
        kinds = {"prompt": theme.GREY, "live": theme.BLUE, "deleted later": theme.ORANGE}
        handles = [theme.key(kind, colour, marker="s", markersize=7, alpha=0.85) for kind, colour in kinds.items()]
        theme.legend(figure, handles)


def _mask(panel, form: dict, longest: int, prompt: int) -> None:
    tokens, count = form["token"], len(form["token"])
    for j in range(count):
        seen = sum(form["mask"][i][j] for i in range(count))
        deleted = j + seen < count
        colour = theme.ORANGE if deleted else theme.BLUE if j >= prompt else theme.GREY
        panel.bar(j, seen, bottom=j - 0.5, width=0.86, color=colour, alpha=0.85, linewidth=0)
    names = [theme.printable(token).replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") for token in tokens]
    labels = [f"{name}  {position}" for name, position in zip(names, form["position"], strict=True)]
    panel.set_yticks(range(count), labels, family="monospace", parse_math=False)
    panel.set_xticks(range(count), names, rotation=90, family="monospace", parse_math=False)
    panel.set(xlim=(-0.6, longest - 0.4), ylim=(longest - 0.4, -0.6), aspect="equal")
    panel.set_ylabel("token and position id", color=theme.SOFT)
    panel.set_xlabel("is seen by the rows of its bar", color=theme.SOFT)
    panel.tick_params(length=0)
    panel.grid(visible=False)


LENGTHS, LEAKS = (10, 100, 1000), (0.001, 0.01, 0.1)  # of the chain, and of the model at each step


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


def plot_motivating_example(path: Path) -> None:
    """Exact divergences of appendix B: over n for each of ``LEAKS``, and over eps for each of ``LENGTHS``."""
    n, eps = np.arange(1, max(LENGTHS) + 1), np.geomspace(min(LEAKS) / 10, 5 * max(LEAKS), 200)
    over_n: list[tuple] = [(n, leak, f"ε = {leak:g}") for leak in LEAKS]
    over_eps: list[tuple] = [(length, eps, f"n = {length}") for length in LENGTHS]
    # The KL lies under the chi2 where both are small, so it is drawn wider.
    divergences: dict[str, tuple[Callable, dict]] = {
        "KL(P‖Q) = −n log(1 − ε)": (kl, {"color": theme.BLUE, "linewidth": 3}),
        "χ² = (1 − ε)⁻ⁿ − 1": (chi2, {"color": theme.ORANGE, "linewidth": 1.2}),
    }
    lowest = min(kl(1, min(LEAKS)), kl(min(LENGTHS), eps[0]))
    with theme.drawing(path, 2, 2, 4.5, 3.4, sharey=True) as (figure, panels):
        for panel, curves, name in zip(panels, (over_n, over_eps), ("length n", "leak per step ε"), strict=True):
            for (length, leak, label), dashes in zip(curves, cycle(theme.DASHES), strict=False):
                x = length if np.ndim(length) else leak
                for divergence, line in divergences.values():
                    panel.plot(x, divergence(length, leak), linestyle=dashes, **line)
                panel.plot([], [], color=theme.GREY, linestyle=dashes, label=label)
            panel.set(xlabel=name, xscale="log", yscale="log", ylim=(lowest / 2, 3e6))
            panel.legend(loc="upper left")
            # A divergence that is infinite everywhere: a line along the upper edge, with arrows out of the panel.
            edge = {"transform": panel.transAxes, "color": theme.GREEN, "clip_on": False}
            panel.plot([0, 1], [1, 1], linewidth=2, **edge)
            panel.plot(np.linspace(0.1, 0.9, 5), [1.02] * 5, "^", markersize=5, **edge)
            panel.set_title("reverse KL(Q‖P) = ∞ for every n and ε", color=theme.GREEN, pad=12)
        panels[0].set_ylabel("divergence of Q from P")
        handles = [
            theme.key(name, line["color"], marker="", linestyle="solid", linewidth=line["linewidth"])
            for name, (_, line) in divergences.items()
        ]
        theme.legend(figure, handles)
        theme.title(figure, "Data P, and a model Q that leaves P's support with probability ε per step")


LARGE, ADVANCE = 17, 0.602  # points of the typed text; width of a monospaced character by its size
LONGEST = 32  # characters of a prompt that are shown, the last ones
WIDE, INDENT, LINE = 6.4, 0.9, 0.42  # inches: a line, where its text begins, and from one line to the next
GOAL, DEAD_END = "G", "X"


def plot_typed(prompt: str, actions: Sequence[str], note: str, path: Path) -> None:
    """A line for each step: the text so far in large letters, with what was just written or deleted in colour."""
    found = steps(actions)
    asked = prompt if len(prompt) <= LONGEST else f"…{prompt[-LONGEST:]}"
    longest = len(asked) + 1 + max(len(step.before + step.text) for step in found)
    size = min(LARGE, 72 * (WIDE - INDENT) / (ADVANCE * longest))
    with theme.drawing(path, 1, 1, WIDE + 0.2, LINE * len(found) + 0.2) as (figure, (panel,)):
        _bare(panel)
        for i, step in enumerate(found):
            word = "deletes" if step.deletes else "writes" if i == 0 else "goes on"
            panel.text(0, -i, word, va="center", color=theme.SOFT, fontsize=11)
            pieces = [(f"{asked} ", theme.SOFT, False), (step.before, theme.INK, False)]
            pieces += [(text, theme.ORANGE if gone else theme.BLUE, step.deletes) for text, gone in step.changed]
            x = INDENT
            for text, colour, struck in pieces:
                end = x + len(text) * ADVANCE * size / 72
                look = {"family": "monospace", "fontsize": size, "color": colour, "parse_math": False}
                panel.text(x, -i, text.replace("\n", "↵"), va="center", **look)
                if struck:
                    panel.plot([x, end], [-i, -i], color=colour, linewidth=2)
                x = end
        panel.set(xlim=(0, WIDE), ylim=(0.5 - len(found), 0.5))
        theme.title(figure, note, size=11)


def _bare(panel) -> None:
    """A panel without its axes."""
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def plot_dead_end(prompt: str, actions: Sequence[str], note: str, path: Path) -> None:
    """A panel for each step of an answer about a graph: the nodes that are live, and those that it deletes."""
    found, paths = steps(actions), graph_paths(prompt)
    with theme.drawing(path, len(found), len(found), 3.0, 0.42 * len(paths) + 0.5) as (figure, panels):
        for i, (step, panel) in enumerate(zip(found, panels, strict=True)):
            word = "deletes" if step.deletes else "walks on" if step.before else "walks"
            panel.set_title(f"{i + 1}. {word}: {step.text}", loc="left", fontsize=12)
            live = set(step.before if step.deletes else step.before + step.text)
            _graph(panel, paths, live, set(step.text) if step.deletes else set())
        theme.title(figure, note, size=11)


def first_dead_end(answers: Iterable[tuple[str, dict]]) -> tuple[str, list[str]] | None:
    """Of (prompt, record), the first right answer that walks a wrong arm to its end and deletes it: prompt, actions."""
    for prompt, record in answers:
        actions = re.findall(r"<\w+>|.", record["rendered"])
        if record["text"] == record["solution"] and walks_back(prompt, actions):
            return prompt, actions
    return None


def walks_back(prompt: str, actions: Sequence[str]) -> bool:
    """Whether the answer walks a whole arm to a dead end, deletes it, and walks another one without an error."""
    found = steps(actions)
    arms = {path[1:-1] for path in graph_paths(prompt) if path.startswith(prompt[0]) and path.endswith(DEAD_END)}
    return [step.deletes for step in found] == [False, True, False] and not found[1].before and found[1].text in arms


def graph_paths(prompt: str) -> list[str]:
    """The paths of a question such as ``5:52|43|51|2G|3X|14=``: from each node without an edge to it to a mark."""
    edges = prompt.rstrip("=").partition(":")[2].split("|")
    after = {node: [edge[1] for edge in own] for node, own in grouped(edges, lambda edge: edge[0]).items()}
    targets = {target for found in after.values() for target in found}
    paths = []
    for head in sorted(after.keys() - targets, key=lambda node: (node != prompt[0], node)):
        for node in after[head]:
            walked = head + node
            while walked[-1] in after:
                walked += after[walked[-1]][0]
            paths.append(walked)
    return paths


def _graph(panel, paths: Sequence[str], live: set[str], deleted: set[str]) -> None:
    """Heads at the left, a path in each row; a head of several paths stands between them."""
    for row, walked in enumerate(paths):
        own = [other for other, path in enumerate(paths) if path[0] == walked[0]]
        places = [(0.0, -sum(own) / len(own)), *((float(depth), -float(row)) for depth in range(1, len(walked)))]
        panel.plot(*zip(*places, strict=True), color=theme.SOFT, linewidth=1.2, zorder=1)
        for depth, (x, y) in enumerate(places):
            node = walked[depth]
            on, gone = node in live, node in deleted
            edge = theme.BLUE if on else theme.ORANGE if gone else theme.GREEN if node == GOAL else theme.SOFT
            face = theme.BLUE if on else theme.GRID if node == DEAD_END else theme.PAPER
            panel.plot(x, y, "o", markersize=17, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=1.8)
            ink = theme.PAPER if on else edge if gone or node == GOAL else theme.INK
            panel.text(x, y, node, ha="center", va="center_baseline", color=ink, fontsize=11)
            if gone:
                panel.plot([x - 0.28, x + 0.28], [y, y], color=theme.ORANGE, linewidth=2, zorder=3)
    _bare(panel)
    panel.set(xlim=(-0.4, max(map(len, paths)) - 0.6), ylim=(0.5 - len(paths), 0.5))
