"""The rollouts that a run trains on: when they are generated, and which of them a gradient step sees (appendix E)."""

import time
from collections.abc import Sequence
from dataclasses import astuple
from fractions import Fraction

from sequencematch.core import Trajectory
from sequencematch.model.processes import Processes
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.producer import Producer, Request
from sequencematch.seeding import generator, stable_seed
from sequencematch.settings.training import Rollouts
from sequencematch.training.batches import Corpus, Order
from sequencematch.training.expert import relabel
from sequencematch.training.replay import Entry, ReplayBuffer, generation_due, next_generation


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
