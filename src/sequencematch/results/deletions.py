"""The deletions in a sequence of actions: which tokens were deleted, whether they were wrong, and what was kept.

Of tokens (``removals``, ``pieces``) and of their texts (``steps``, ``left``).
"""

import re
from collections.abc import Iterator, Sequence
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


def _replayed(deleted: Sequence[int]) -> Iterator[tuple[int, bool, list[int]]]:
    """Each token as it is written, and as it goes: its place among the actions, whether it goes, the live places then.

    deleted: how many tokens each action deletes; one that deletes none writes one. The list of live places, the token's
    own included where it goes, changes afterwards.
    """
    live: list[int] = []
    for place, count in enumerate(deleted):
        for _ in range(count):
            if not live:
                raise ValueError(f"action {place} deletes, and nothing is left to delete")
            yield live[-1], True, live
            live.pop()
        if not count:
            yield place, False, live
            live.append(place)


def _counts(actions: Sequence[int], bkspc: int) -> list[int]:
    return [max(0, action - bkspc + 1) for action in actions]


def removals(actions: Sequence[int], completion: Sequence[int], bkspc: int) -> list[Removal]:
    """The tokens that actions delete, in order; ``completion`` is the reference. Action ``bkspc + k - 1`` deletes k."""
    return [
        Removal(len(live) - 1, [actions[place] for place in live] != list(completion[: len(live)]))
        for _, goes, live in _replayed(_counts(actions, bkspc))
        if goes
    ]


def pieces(actions: Sequence[int], bkspc: int, begun: int = 0) -> list[tuple[list[int], str]]:
    """The tokens of actions in the order typed, cut where their fate changes (``KEPT`` or ``DELETED``).

    The first ``begun`` tokens are not joined with later ones. Tokens are joined into pieces because one token may hold
    half a character.
    """
    events = [(place, goes) for place, goes, _ in _replayed(_counts(actions, bkspc))]
    gone = {place for place, goes in events if goes}
    written = enumerate(place for place, goes in events if not goes)
    runs = groupby(written, key=lambda item: (item[0] < begun, DELETED if item[1] in gone else KEPT))
    return [([actions[place] for _, place in run], fate) for (_, fate), run in runs]


BKSPC, END = "<bkspc>", "<eos>"


@dataclass(frozen=True)
class Step:
    """A run of actions of one kind: the live text before it; what it writes or deletes, and if that goes in the end."""

    before: str
    changed: Sequence[tuple[str, bool]]
    deletes: bool

    @property
    def text(self) -> str:
        """What it writes or deletes."""
        return "".join(text for text, _ in self.changed)


def steps(actions: Sequence[str]) -> list[Step]:
    """The steps of texts of tokens, ``<bkspc>``, ``<bkspc_3>``, ``<eos>``. ValueError: nothing is left to delete."""
    actions = [action for action in actions if action != END]
    events = [
        (goes, place, "".join(actions[k] for k in (live[:-1] if goes else live)))
        for place, goes, live in _replayed([_deleted(action) for action in actions])
    ]
    gone = {place for goes, place, _ in events if goes}
    found = []
    for deletes, group in groupby(events, key=lambda event: event[0]):
        run = list(group)[:: -1 if deletes else 1]  # what was deleted last was written first
        found.append(Step(run[0][2], [(actions[place], place in gone) for _, place, _ in run], deletes))
    return found


def _deleted(action: str) -> int:
    found = re.fullmatch(r"<bkspc(?:_(\d+))?>", action)
    return int(found[1] or 1) if found else 0


def left(actions: Sequence[str]) -> str:
    """The live text after all actions."""
    last = steps(actions)[-1]
    return last.before if last.deletes else last.before + last.text
