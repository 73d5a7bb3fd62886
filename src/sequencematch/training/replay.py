"""The replay buffer: rollouts waiting to be trained on, and how often new ones are generated (appendix E)."""

from collections import deque
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np


@dataclass(frozen=True)
class Entry:
    """One rollout in the buffer.

    example: the training example whose prompt it continues; finished: whether it ended in ``<eos>``; step: the gradient
    step at which it was generated.
    """

    example: int
    actions: list[int]
    finished: bool
    step: int


class ReplayBuffer:
    """The latest ``capacity`` rollouts; the oldest leave first."""

    def __init__(self, capacity: int):
        self.entries: deque[Entry] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Add rollouts at the end; the oldest leave a full buffer."""
        self.entries.extend(entries)

    def draw(self, batch: int, rng: np.random.Generator) -> list[Entry]:
        """``batch`` different rollouts, uniformly. Raises ValueError where the buffer holds fewer."""
        return [self.entries[i] for i in rng.choice(len(self.entries), batch, replace=False)]

    def ages(self, step: int) -> np.ndarray:
        """Gradient steps since each rollout was generated, oldest first, int64 [len]."""
        return step - np.array([entry.step for entry in self.entries], dtype=np.int64)

    def state_dict(self) -> dict[str, list]:
        """The content as lists and numbers, oldest first."""
        return {"entries": [list(astuple(entry)) for entry in self.entries]}

    def load_state_dict(self, state: dict[str, list]) -> None:
        """Replace the content; what exceeds the capacity leaves, oldest first."""
        self.entries.clear()
        self.add(Entry(*fields) for fields in state["entries"])


def generation_due(step: int, interval: Fraction) -> bool:
    """Whether rollouts are generated before gradient step ``step``, counted from 0. They always are before step 0.

    interval: G * seen / B steps, at least 1. A generation adds G rollouts and a step trains on B, so each rollout is
    seen ``seen`` times on average. Generation k comes before the first step at or after k * interval. So the interval
    is exact on average, and no generation is a whole step late.
    """
    return floor(step / interval) > floor((step - 1) / interval)


def next_generation(step: int, interval: Fraction) -> int:
    """The first step after ``step`` that a generation precedes (``generation_due``)."""
    return ceil((floor(step / interval) + 1) * interval)
