"""A completion as it was typed: what was written, what was deleted, and how it went on; of a graph, on its arms."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sequencematch.results.theme import BLUE, GREEN, GRID, INK, ORANGE, SOFT, drawing, title

BKSPC, MARK, END = "<bkspc>", "⌫", "<eos>"
LARGE, ADVANCE = 17, 0.602  # points of the typed text; width of a monospaced character by its size
LONGEST = 32  # characters of a prompt that are shown, the last ones
WIDE, ACROSS, STEP = 6.4, 0.9, 0.42  # inches: a line, where its text begins, and from one line to the next
GOAL, DEAD_END = "G", "X"


@dataclass(frozen=True)
class Step:
    """A run of actions of one kind.

    before: the live text before it. changed: what it writes, or deletes, with whether that is deleted in the end.
    """

    before: str
    changed: Sequence[tuple[str, bool]]
    deletes: bool

    @property
    def text(self) -> str:
        """What it writes or deletes."""
        return "".join(text for text, _ in self.changed)


def shown(actions: Sequence[str]) -> str:
    """The actions as one text with a mark for each deletion: ``-46⌫5``."""
    return "".join(MARK * _deleted(action) or action for action in actions if action != END)


def steps(actions: Sequence[str]) -> list[Step]:
    """The steps of actions: texts of tokens, ``<bkspc>`` or ``<bkspc_3>``, and ``<eos>``, which adds nothing.

    Raises ValueError where a deletion finds nothing to delete.
    """
    live: list[int] = []
    events: list[tuple[bool, int, str]] = []  # whether it deletes, the place of the token, the text before
    gone = set()
    for i, action in enumerate(actions):
        for _ in range(_deleted(action)):
            if not live:
                raise ValueError(f"action {i} deletes, and nothing is left to delete")
            gone.add(live[-1])
            events.append((True, live.pop(), "".join(actions[k] for k in live)))
        if not _deleted(action) and action != END:
            events.append((False, i, "".join(actions[k] for k in live)))
            live.append(i)
    found = []
    for deletes, group in groupby(events, key=lambda event: event[0]):
        run = list(group)[:: -1 if deletes else 1]  # what was deleted last was written first
        found.append(Step(run[0][2], [(actions[place], place in gone) for _, place, _ in run], deletes))
    return found


def _deleted(action: str) -> int:
    """How many tokens an action deletes."""
    found = re.fullmatch(r"<bkspc(?:_(\d+))?>", action)
    return int(found[1] or 1) if found else 0


def left(actions: Sequence[str]) -> str:
    """The live text after all actions."""
    last = steps(actions)[-1]
    return last.before if last.deletes else last.before + last.text


def plot_typed(prompt: str, actions: Sequence[str], note: str, path: Path) -> None:
    """A line for each step: the text so far in large letters, with what was just written or deleted in colour."""
    found = steps(actions)
    asked = prompt if len(prompt) <= LONGEST else f"…{prompt[-LONGEST:]}"
    longest = len(asked) + 1 + max(len(step.before + step.text) for step in found)
    size = min(LARGE, 72 * (WIDE - ACROSS) / (ADVANCE * longest))
    with drawing(path, 1, 1, WIDE + 0.2, STEP * len(found) + 0.2) as (figure, grid):
        panel = grid[0, 0]
        _bare(panel)
        for i, step in enumerate(found):
            word = "deletes" if step.deletes else "writes" if i == 0 else "goes on"
            panel.text(0, -i, word, va="center", color=SOFT, fontsize=11)
            pieces = [(f"{asked} ", SOFT, False), (step.before, INK, False)]
            pieces += [(text, ORANGE if gone else BLUE, step.deletes) for text, gone in step.changed]
            x = ACROSS
            for text, colour, struck in pieces:
                end = x + len(text) * ADVANCE * size / 72
                look = {"family": "monospace", "fontsize": size, "color": colour, "parse_math": False}
                panel.text(x, -i, text.replace("\n", "↵"), va="center", **look)
                if struck:
                    panel.plot([x, end], [-i, -i], color=colour, linewidth=2)
                x = end
        panel.set(xlim=(0, WIDE), ylim=(0.5 - len(found), 0.5))
        title(figure, note, size=11)


def _bare(panel) -> None:
    """A panel without its axes."""
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


# ---- graphs -----------------------------------------------------------------------------------------


def plot_dead_end(prompt: str, actions: Sequence[str], note: str, path: Path) -> None:
    """A panel for each step of an answer about a graph: the nodes that are live, and those that it deletes."""
    found, paths = steps(actions), graph_paths(prompt)
    with drawing(path, len(found), 1, 3.0, 0.42 * len(paths) + 0.5) as (figure, grid):
        for i, (step, panel) in enumerate(zip(found, grid[0], strict=True)):
            word = "deletes" if step.deletes else "walks on" if step.before else "walks"
            panel.set_title(f"{i + 1}. {word}: {step.text}", loc="left", fontsize=12)
            live = set(step.before if step.deletes else step.before + step.text)
            _graph(panel, paths, live, set(step.text) if step.deletes else set())
        title(figure, note, size=11)


def graph_paths(prompt: str) -> list[str]:
    """The paths of a question such as ``5:52|43|51|2G|3X|14=``: from each node without an edge to it to a mark."""
    after: dict[str, list[str]] = {}
    for edge in prompt.rstrip("=").partition(":")[2].split("|"):
        after.setdefault(edge[0], []).append(edge[1])
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
    rows: dict[str, list[int]] = {}
    for row, walked in enumerate(paths):
        rows.setdefault(walked[0], []).append(row)
    for row, walked in enumerate(paths):
        own = rows[walked[0]]
        places = [(0.0, -sum(own) / len(own)), *((float(depth), -float(row)) for depth in range(1, len(walked)))]
        panel.plot(*zip(*places, strict=True), color=SOFT, linewidth=1.2, zorder=1)
        for depth, (x, y) in enumerate(places):
            node = walked[depth]
            on, gone = node in live, node in deleted
            edge = BLUE if on else ORANGE if gone else GREEN if node == GOAL else SOFT
            face = BLUE if on else GRID if node == DEAD_END else "white"
            panel.plot(x, y, "o", markersize=17, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=1.8)
            ink = "white" if on else edge if gone or node == GOAL else INK
            panel.text(x, y, node, ha="center", va="center_baseline", color=ink, fontsize=11)
            if gone:
                panel.plot([x - 0.28, x + 0.28], [y, y], color=ORANGE, linewidth=2, zorder=3)
    _bare(panel)
    panel.set(xlim=(-0.4, max(map(len, paths)) - 0.6), ylim=(0.5 - len(paths), 0.5))
