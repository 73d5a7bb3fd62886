"""What a policy typed: its deletions, where they fall, and what they removed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.tokenizer import Tokenizer


@dataclass(frozen=True)
class Removal:
    """A backspace: the place in the completion (from 0) of the token it removed, and whether that was wrong.

    Wrong: the live text that ended in it was not a beginning of the reference completion.
    """

    place: int
    wrong: bool


def removals(actions: Sequence[int], completion: Sequence[int], bkspc: int) -> list[Removal]:
    """The backspaces of a trajectory, in order."""
    live, found = [], []
    for action in actions:
        if action == bkspc:
            found.append(Removal(len(live) - 1, live != list(completion[: len(live)])))
            live.pop()
        else:
            live.append(action)
    return found


def pieces(actions: Sequence[int], tokenizer: Tokenizer) -> list[tuple[str, bool]]:
    """The text in the order typed, cut where it changes between kept and deleted: (text, deleted)."""
    tokens: list[tuple[int, bool]] = []
    live: list[int] = []
    for action in actions:
        if action == tokenizer.bkspc:
            place = live.pop()
            tokens[place] = (tokens[place][0], True)
        else:
            live.append(len(tokens))
            tokens.append((action, False))
    runs = groupby(tokens, key=lambda token: token[1])
    return [(tokenizer.render([token for token, _ in run]), deleted) for deleted, run in runs]


def read_records(samples: Path, decoding: str) -> Iterator[dict]:
    """The records of one decoding in a samples.jsonl, in its order. Raises UserError where it is no such file."""
    try:
        with samples.open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                if record["decoding"] == decoding:
                    yield record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{samples}' holds no samples ({error}): delete it and sample again") from error
