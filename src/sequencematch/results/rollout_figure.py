"""A completion as it was typed: a bar per action, as high as its probability, and below it the text that it leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sequencematch.results.theme import BLUE, GREEN, ORANGE, SOFT, drawing, key, legend, title

BKSPC, MARK = "<bkspc>", "⌫"
KINDS = {"written and kept": BLUE, "written, deleted later": ORANGE, f"{MARK} deletes the last token": GREEN}
KEPT, DELETED, DELETION = KINDS


@dataclass(frozen=True)
class Typed:
    """One rollout.

    actions: texts of the actions taken, ``<bkspc>`` and ``<eos>`` by these names; probabilities: the policy's own for
    each of them, in the state in which it was taken.
    """

    prompt: str
    actions: Sequence[str]
    probabilities: Sequence[float]


def shown(actions: Sequence[str]) -> str:
    """The actions as one text with a mark for each deletion: ``-46⌫5``."""
    return "".join(MARK if action == BKSPC else action for action in actions if action != "<eos>")


def kinds_and_texts(actions: Sequence[str]) -> list[tuple[str, str]]:
    """For each action, which of ``KINDS`` it is, and the live text after it.

    Raises ValueError if there is nothing that a deletion could delete.
    """
    kinds, texts, live = [KEPT] * len(actions), [], []
    for i, action in enumerate(actions):
        if action != BKSPC:
            live.append(i)
        elif not live:
            raise ValueError(f"action {i} deletes, and nothing is left to delete")
        else:
            kinds[i], kinds[live.pop()] = DELETION, DELETED
        texts.append("".join(actions[j] for j in live if actions[j] != "<eos>"))
    return list(zip(kinds, texts, strict=True))


def plot_typed(typed: Typed, note: str, path: Path) -> None:
    """The rollout as a figure whose title is the prompt and what was typed."""
    places = range(len(typed.actions))
    described = kinds_and_texts(typed.actions)
    with drawing(path, 1, 1, 6.5, 2.2) as (figure, grid):
        panel = grid[0, 0]
        for i, (kind, _), probability in zip(places, described, typed.probabilities, strict=True):
            panel.bar(i, probability, width=0.6, color=KINDS[kind])
            panel.text(i, probability + 0.03, f"{probability:.2f}", ha="center", color=KINDS[kind])
        panel.set(xlim=(-0.6, len(places) - 0.4), ylim=(0, 1.15), yticks=[0, 0.5, 1], ylabel="probability")
        panel.set_xticks(places, [_label(*pair) for pair in zip(typed.actions, described, strict=True)])
        panel.tick_params(axis="x", length=0)
        panel.grid(axis="x", visible=False)
        for label, (kind, _) in zip(panel.get_xticklabels(), described, strict=True):
            label.set(parse_math=False, color=KINDS[kind], fontsize=10.5)
        below = panel.get_xaxis_transform()
        for words, y in (("action", -0.105), ("text", -0.225)):
            panel.text(-0.62, y, words, transform=below, ha="right", va="center", color=SOFT)
        present = {kind for kind, _ in described}
        legend(figure, [key(kind, colour, marker="s") for kind, colour in KINDS.items() if kind in present])
        title(figure, f"{typed.prompt.strip()} {shown(typed.actions)}", note)


def _label(action: str, described: tuple[str, str]) -> str:
    name = MARK if action == BKSPC else action
    return f"{name}\n{'done' if action == '<eos>' else described[1] or '(empty)'}"
