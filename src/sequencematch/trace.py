"""A sequence's actions, states, mask and position ids, as state tree and as Algorithm 2. Shows what the core does."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from sequencematch.core import Inputs, StateIndex, Trajectory, algorithm_2, state_tree
from sequencematch.errors import UserError

BKSPC = "<bkspc>"
DELETION = r"<bkspc(?:_[1-9]\d{0,3})?>"  # of one token, or as many as it names
LONGEST = 2048  # tokens and actions of a trace


def tokens(prompt: str, actions: str, tokenizer: Path | None = None) -> tuple[list[str], list[str]]:
    """The texts of the prompt's tokens and of the actions.

    Without a tokenizer, words are tokens. With the folder of one, both are text: ``<bos>`` is put before the prompt,
    and the actions are cut at deletions and ``<eos>``. Raises UserError if the tokenizer is missing.
    """
    if tokenizer is None:
        return prompt.split(), actions.split()
    from sequencematch.data.tokenizer import load_tokenizer

    loaded = load_tokenizer(tokenizer)

    def texts(ids: Sequence[int]) -> list[str]:
        return [loaded.render([token]) for token in ids]

    taken: list[str] = []
    for part in re.split(f"({DELETION}|<eos>)", actions):
        taken += [part] if part == "<eos>" or _deleted(part) else texts(loaded.encode(part))
    return texts(loaded.prompt(prompt)), taken


def _deleted(action: str) -> int:
    """How many tokens an action deletes."""
    return int(action[7:-1] or 1) if re.fullmatch(DELETION, action) else 0


def trace(prompt: Sequence[str], actions: Sequence[str]) -> dict:
    """What the core makes of one trajectory, as lists.

    Keys: ``prompt``, ``actions``, ``states`` (live tokens before each action and after the last), and ``state_tree``
    and ``algorithm_2``, each with ``token``, ``position``, ``mask`` (row i: what position i attends to) and ``state``
    (the input position that holds each state); ``state_tree`` has ``end`` as well: token j is seen by j .. end[j] - 1.
    ``<bkspc>`` deletes one token, ``<bkspc_3>`` three. Raises UserError if a prompt token would be deleted, or a
    deletion is part of the prompt.
    """
    if not prompt or any(map(_deleted, prompt)):
        raise UserError(f"the prompt needs at least one token (<bos>), and {BKSPC} is not one of them")
    if len(prompt) + len(actions) > LONGEST:
        raise UserError(f"a trace shows each token's view of all others: give at most {LONGEST} tokens and actions")
    names = sorted({name for name in (*prompt, *actions) if not _deleted(name)})
    bkspc = len(names)
    ids = {name: i for i, name in enumerate(names)} | {a: bkspc + _deleted(a) - 1 for a in actions if _deleted(a)}
    given, taken = [ids[name] for name in prompt], [ids[name] for name in actions]
    row = Trajectory(prompt=given, actions=taken, imitated=[True] * len(actions))
    try:
        tree, (tree_states,) = state_tree([[row]], bkspc)
        copies, copies_states = algorithm_2([row], bkspc)
    except ValueError as error:
        raise UserError(f"this sequence cannot be traced: {error}") from error
    assert tree.end is not None
    return {
        "prompt": list(prompt),
        "actions": list(actions),
        "states": [*accumulate(actions, _next_state, initial=list(prompt))],
        "state_tree": _form(tree, tree_states, names) | {"end": tree.end[0].tolist()},
        "algorithm_2": _form(copies, copies_states, names),
    }


def _next_state(live: list[str], action: str) -> list[str]:
    return live[: -_deleted(action)] if _deleted(action) else [*live, action]


def _form(inputs: Inputs, states: StateIndex, names: Sequence[str]) -> dict:
    return {
        "token": [names[token] for token in inputs.token[0].tolist()],
        "position": inputs.position[0].tolist(),
        "mask": inputs.dense_mask()[0].int().tolist(),
        "state": states.state[0].tolist(),
    }


def render(traced: dict) -> str:
    """The trace as text for a terminal."""
    tree, copies = traced["state_tree"], traced["algorithm_2"]
    states = {"action a_i": [*traced["actions"], ""], "node": tree["state"], "copy": copies["state"]}
    parts = [["actions and the states they are taken in", "", *_table(states | {"state s_i": traced["states"]}, " ")]]
    for form, title in (
        (tree, "state tree: one node per pushed token; row i attends to j where j <= i < end[j]"),
        (copies, "Algorithm 2: one position per action; a copy of the last live token at each deletion"),
    ):
        columns = {name: form[name] for name in ("token", "position", "end") if name in form}
        mask = [["#" if seen else "." for seen in row] for row in form["mask"]]
        parts.append([title, "", *_table(columns | {"mask": mask})])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _table(columns: Mapping[str, Sequence], between: str = "") -> list[str]:
    """Numbered lines with a head; lists in a cell are joined."""
    numbered = {"i": range(len(next(iter(columns.values())))), **columns}
    cells = [[n, *(between.join(c) if isinstance(c, list) else str(c) for c in of)] for n, of in numbered.items()]
    padded = ([cell.ljust(max(map(len, column))) for cell in column] for column in cells)
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
