"""The attention mask of one sequence with backspaces: as a state tree, and as Algorithm 2 has it.

In both forms, an input position is seen by a run of later positions. There is one bar per position, from itself to
where it is deleted. The end of that bar is all that the state tree keeps of the mask.
"""

from collections.abc import Sequence
from pathlib import Path

from sequencematch.results.showcase import printable
from sequencematch.results.theme import BLUE, GREY, ORANGE, SOFT, drawing, legend
from sequencematch.trace import BKSPC

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
    with drawing(path, 2, 1, size, size) as (figure, panels):
        for panel, (form, title) in zip(panels[0], forms.items(), strict=True):
            _draw(panel, traced[form], longest, len(traced["prompt"]))
            panel.set_title(title)
        import matplotlib.pyplot as plt

        kinds = {"prompt": GREY, "live": BLUE, "deleted later": ORANGE}
        handles = [plt.Rectangle((0, 0), 1, 1, color=colour, alpha=0.85, label=kind) for kind, colour in kinds.items()]
        legend(figure, handles)


def _draw(panel, form: dict, longest: int, prompt: int) -> None:
    tokens, count = form["token"], len(form["token"])
    for j in range(count):
        seen = sum(form["mask"][i][j] for i in range(count))
        deleted = j + seen < count
        colour = ORANGE if deleted else BLUE if j >= prompt else GREY
        panel.bar(j, seen, bottom=j - 0.5, width=0.86, color=colour, alpha=0.85, linewidth=0)
    names = [printable(token).replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") for token in tokens]
    labels = [f"{name}  {position}" for name, position in zip(names, form["position"], strict=True)]
    panel.set_yticks(range(count), labels, family="monospace", parse_math=False)
    panel.set_xticks(range(count), names, rotation=90, family="monospace", parse_math=False)
    panel.set(xlim=(-0.6, longest - 0.4), ylim=(longest - 0.4, -0.6), aspect="equal")
    panel.set_ylabel("token and position id", color=SOFT)
    panel.set_xlabel("is seen by the rows of its bar", color=SOFT)
    panel.tick_params(length=0)
    panel.grid(visible=False)
