"""The rollouts that a run trains on: when they are generated, kept and seen, and the expert's answer (appendix E)."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

from sequencematch.core import Trajectory, growth, live_tokens
from sequencematch.model.processes import Processes
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.producer import Producer, Request
from sequencematch.seeding import generator, stable_seed
from sequencematch.settings.training import Rollouts
from sequencematch.training.batches import Corpus, Order


@dataclass(frozen=True)
class Entry:
    """One rollout in the buffer."""

    example: int  # the training example whose prompt it continues
    actions: list[int]
    finished: bool  # by <eos>
    step: int  # the gradient step at which it was generated


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


class RolloutSchedule:
    """The replay buffer, and the generation steps that fill it.

    Generation k comes before the first gradient step at or after k times the interval. It draws rollouts after the next
    prompts of a shuffled stream. Concurrent rollouts start up to ``staleness`` gradient steps earlier.

    steps: gradient steps of the run, from 0; ``draw`` counts them the same way.
    """

    def __init__(
        self,
        settings: Rollouts,
        corpus: Corpus,
        batch: int,
        steps: int,
        seed: int,
        producer: Producer,
        processes: Processes,
    ):
        self.settings, self.corpus, self.batch, self.steps, self.seed = settings, corpus, batch, steps, seed
        self.producer, self.processes = producer, processes
        self.buffer = ReplayBuffer(settings.buffer)
        self.interval = Fraction(settings.generate * settings.seen, batch)  # steps from one generation to the next
        self.ahead = settings.staleness if settings.concurrent else 0
        self.generations = 0
        self.asked: tuple[Sequence[int], int] | None = None  # a generation under way: its examples, step of its weights
        self.arrived: list[Entry] = []  # a generation that is not in the buffer yet
        self.waited = 0.0  # seconds

    def draw(self, step: int) -> list[Entry]:
        """Run the generation steps that are due, then draw a batch of different rollouts uniformly from the buffer."""
        self._refill(step)
        return self.buffer.draw(self.batch, generator(self.seed, "replay", step))

    def trajectory(self, entry: Entry) -> Trajectory:
        """The rollout as a trajectory. It was cut off if it reached the bound on actions."""
        prompt, imitated = self.corpus.example(entry.example, 0).prompt, [True] * len(entry.actions)
        return Trajectory(prompt=prompt, actions=entry.actions, imitated=imitated, ended=entry.finished)

    def relabelled(self, entry: Entry) -> Trajectory:
        """The rollout with the expert's answer to its first mistake."""
        return relabel(entry.actions, self.corpus.example(entry.example, 0), self.producer.policy.bkspc)

    def collect(self) -> list[Entry]:
        """Wait for the rollouts that were asked for last, and return them. Empty if there was no request."""
        if self.asked:
            items, step = self.asked
            start = time.perf_counter()
            rollouts = self.producer.answer()
            self.waited += time.perf_counter() - start
            entries = [
                Entry(item, rollout.actions, rollout.finished, step)
                for item, rollout in zip(items, rollouts, strict=True)
            ]
            self.arrived, self.asked = self.processes.united(entries), None
        return self.arrived

    def seconds_waited(self) -> float:
        """Seconds that training waited for rollouts since the last call."""
        waited, self.waited = self.waited, 0.0
        return waited

    def state_dict(self) -> dict:
        """What a resumed run needs, as lists and numbers. Waits for a generation that is under way."""
        arrived = [list(astuple(entry)) for entry in self.collect()]
        return {"buffer": self.buffer.state_dict(), "arrived": arrived, "generations": self.generations}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a state that ``state_dict`` returned."""
        self.buffer.load_state_dict(state["buffer"])
        self.arrived = [Entry(*fields) for fields in state["arrived"]]
        self.generations = state["generations"]

    def _refill(self, step: int) -> None:
        due = generation_due(step, self.interval)
        while due or len(self.buffer) < self.batch:
            self._ask(step)
            self.buffer.add(self.collect())
            self.arrived, due = [], False
        if next_generation(step, self.interval) <= min(step + self.ahead, self.steps - 1):
            self._ask(step)

    def _ask(self, step: int) -> None:
        """Start a generation step with the present policy and the next prompts, unless one is under way."""
        if self.asked or self.arrived:
            return
        settings = self.settings
        first = self.generations * settings.generate
        order = Order(len(self.corpus), self.seed, "rollouts")
        decoding = Decoding(settings.max_actions, settings.temperature, settings.top_p, settings.top_k)
        items = self.processes.share([item for item, _ in order.slice(first, settings.generate)])
        numbers = self.processes.share(range(first, first + settings.generate))
        streams = [stable_seed(self.seed, "rollout", number) for number in numbers]
        prompts = [self.corpus.example(item, 0).prompt for item in items]
        self.producer.ask(Request(prompts, decoding, streams, batch=settings.generate))
        self.asked = items, step
        self.generations += 1


def relabel(rollout: Sequence[int], reference: Trajectory, bkspc: int) -> Trajectory:
    """The rollout with the expert's answer to its first mistake, as a trajectory.

    rollout: actions after the prompt of ``reference``. The expert's completion is what ``reference`` leaves live. The
    trajectory follows the rollout as long as all live tokens are the expert's. In the first wrong state, the expert
    takes ``<bkspc>``, then the true token, and then the rest of the completion. If the rollout deletes the wrong token
    itself, the trajectory follows it further. Neither a wrong token nor the deletion of a right token is imitated. A
    wrong ``<eos>`` cannot be deleted, so the expert continues from the state before it.

    DAgger (Ross, Gordon and Bagnell 2011), with ``<bkspc>`` as the expert's answer to a mistake; not in the paper.
    """
    expert = live_tokens(reference.prompt, reference.actions, bkspc)
    eos = expert[-1]
    actions: list[int] = []
    imitated: list[bool] = []
    right = 0  # live tokens, all of them the expert's
    wrong = False  # whether a wrong token is live after them
    for action in rollout:
        if right == len(expert) or (wrong and action < bkspc) or (action == eos != expert[right]):
            break
        if action >= bkspc:
            good = wrong and action == bkspc
            right, wrong = right + wrong + growth(action, bkspc), False
        elif action == expert[right]:
            right, good = right + 1, True
        else:
            wrong, good = True, False
        actions.append(action)
        imitated.append(good)
    rest = [bkspc] * wrong + expert[right:]
    return Trajectory(
        prompt=reference.prompt, actions=actions + rest, imitated=imitated + [True] * len(rest), ended=reference.ended
    )
