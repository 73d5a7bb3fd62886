"""The deletions in a sequence of actions: which tokens were deleted, whether they were wrong, and what was kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

KEPT, DELETED = "kept", "deleted"


@dataclass(frozen=True)
class Removal:
    """A deleted token: its place in the completion (from 0), and whether it was wrong.

    It was wrong if the live text that ended in it was not a beginning of the reference completion. This is meaningful
    if there is one right answer, less so for a translation, and not for a free continuation.
    """

    place: int
    wrong: bool


def removals(actions: Sequence[int], completion: Sequence[int], bkspc: int) -> list[Removal]:
    """The tokens that actions delete, in order; ``completion`` is the reference. Action ``bkspc + k - 1`` deletes k."""
    live: list[int] = []
    found: list[Removal] = []
    for action in actions:
        for _ in range(bkspc, action + 1):
            found.append(Removal(len(live) - 1, live != list(completion[: len(live)])))
            live.pop()
        if action < bkspc:
            live.append(action)
    return found


def pieces(actions: Sequence[int], bkspc: int, begun: int = 0) -> list[tuple[list[int], str]]:
    """The tokens of actions in the order typed, cut where their fate changes (``KEPT`` or ``DELETED``).

    The first ``begun`` tokens are not joined with later ones. Tokens are joined into pieces because one token may hold
    half a character.
    """
    tokens: list[int] = []
    fates: list[str] = []
    live: list[int] = []  # places of live tokens
    for action in actions:
        for _ in range(bkspc, action + 1):
            fates[live.pop()] = DELETED
        if action < bkspc:
            live.append(len(tokens))
            tokens.append(action)
            fates.append(KEPT)
    runs = groupby(range(len(tokens)), key=lambda place: (place < begun, fates[place]))
    return [([tokens[place] for place in run], fate) for (_, fate), run in runs]
