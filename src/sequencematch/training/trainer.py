"""The one training loop: base models, MLE, BC, SequenceMatch and ULS differ in loss and data alone.

A run is bitwise repeatable on a CPU: every random draw comes from a stream named by (seed, purpose, step), so a
killed run continues from its last checkpoint exactly where the undisturbed run would have been. Several processes
(``processes``) do the same steps together: same rows, same rollouts, same sums but for the rounding of their order.
"""

import csv
import io
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm import tqdm

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.errors import UserError
from sequencematch.model.policy import Policy, trained_tensors
from sequencematch.model.processes import Processes
from sequencematch.sampling.producer import Background, InProcess, Producer, Request
from sequencematch.sampling.rollout import Decoding
from sequencematch.seeding import generator, stable_seed
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule
from sequencematch.store.files import write_text_atomically
from sequencematch.training.batches import WINDOW, Batches, Corpus, Order, nodes, of_like_length
from sequencematch.training.checkpoints import load_checkpoint, save_checkpoint
from sequencematch.training.losses import LOSSES, Scored, count, score_rows
from sequencematch.training.replay import Entry, ReplayBuffer, generation_due, generation_interval, next_generation

VALIDATION_EXAMPLES = 500
METRICS = "metrics.csv"
MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Stage:
    """Steps [start, stop) of a schedule in which the cosine decay runs from ``decay_start`` to ``total``."""

    loss: str
    start: int
    stop: int
    decay_start: int
    total: int

    def learning_rate(self, step: int, settings: Optimiser) -> float:
        """Linear warm-up, then constant, then cosine decay to 0 at ``total`` (appendix E)."""
        warm = min(1.0, (step + 1) / max(1, settings.warmup))
        done = max(0, step - self.decay_start) / max(1, self.total - self.decay_start)
        return settings.learning_rate * warm * (1 + math.cos(math.pi * done)) / 2

    def beta(self, step: int, schedule: Schedule) -> float:
        """Weight of BC beside SequenceMatch: 1 at the stage's start, falling linearly to its final value."""
        done = min(1.0, (step - self.start) / schedule.beta_steps)
        return 1 - (1 - schedule.beta_final) * done


@dataclass
class Run:
    """Everything a run is made of.

    ``initial`` is the optimiser state to continue from, if any; ``rebuild`` makes another policy like ``policy`` before
    training, for the process that draws rollouts where they are concurrent.
    """

    policy: Policy
    train: Corpus
    validation: Corpus
    stage: Stage
    optimiser: Optimiser
    schedule: Schedule
    objective: Objective
    rollouts: Rollouts
    seed: int
    resume: Path
    precision: str = "float32"
    initial: dict | None = None
    rebuild: Callable[[], Policy] | None = None


def train(run: Run) -> tuple[list[dict], dict]:
    """Train ``run.policy`` in place; return the rows of the metrics file and the optimiser's final state.

    Raises UserError where the loss stops being finite, or the process that draws rollouts ends; checkpoints already
    written stay.
    """
    trainer = Trainer(run)
    try:
        return trainer.train()
    finally:
        trainer.producer.close()


class Trainer:
    """The state of a run between two steps."""

    def __init__(self, run: Run):
        self.run, self.stage, self.policy = run, run.stage, run.policy
        self.loss = LOSSES[self.stage.loss]
        self.processes = Processes()
        if run.optimiser.batch < self.processes.count:
            raise UserError(
                f"optimiser.batch ({run.optimiser.batch}) is below the number of processes ({self.processes.count}): "
                "raise it, or lower jobs.train.gpu, so that each has a row of every batch"
            )
        beside = run.rollouts.concurrent and self.loss.rollouts
        if beside and self.processes.count > 1:
            raise UserError(
                f"rollouts.concurrent needs training by one process, not by {self.processes.count}: set it to false, "
                "or lower jobs.train.gpu to 1"
            )
        self.accelerator = Accelerator(mixed_precision=MIXED_PRECISION[run.precision])
        self.policy.to(self.accelerator.device)
        self.parameters = [p for p in self.policy.parameters() if p.requires_grad]
        self.optimiser = new_optimiser(self.policy, run.optimiser)
        if run.initial is not None:
            self.optimiser.load_state_dict(run.initial)
        self.batches = Batches(run.train, run.optimiser.batch, self.policy.bkspc, run.seed, "examples")
        self.buffer = ReplayBuffer(run.rollouts.buffer)
        self.interval = generation_interval(run.rollouts.generate, run.rollouts.seen, run.optimiser.batch)
        self.ahead = run.rollouts.staleness if beside else 0
        self.generations = 0
        self.asked: tuple[Sequence[int], int] | None = None  # examples of a generation under way, step of its weights
        self.arrived: list[Entry] = []  # a generation that is not in the buffer yet
        self.waited = 0.0
        self.step = self.stage.start
        self.metrics: list[dict] = []
        self.window: list[dict] = []
        self._restore()
        self.producer: Producer = Background(self.policy, run.rebuild) if beside else InProcess(self.policy)

    def train(self) -> tuple[list[dict], dict]:
        schedule = self.run.schedule
        progress = tqdm(
            total=self.stage.stop - self.stage.start,
            initial=self.step - self.stage.start,
            desc=self.stage.loss,
            unit="step",
            mininterval=0.5 if os.isatty(2) else 10,
            disable=not self.processes.first,
        )
        self.policy.train()
        while self.step < self.stage.stop:
            self.window.append(self.gradient_step())
            self.step += 1
            finished = self.step == self.stage.stop
            if self.step % schedule.metrics_every == 0 or finished:
                self._close_window(validate=finished or self.step % schedule.validate_every == 0)
                progress.set_postfix(loss=f"{self.metrics[-1]['loss']:.3f}", refresh=False)
            if self.step % schedule.checkpoint_every == 0 and not finished:
                self._save_checkpoint()
            progress.update()
        progress.close()
        return self.metrics, self.optimiser.state_dict()

    def _close_window(self, validate: bool) -> None:
        """Turn the steps since the last row into one row of the metrics file: means, and the step reached."""
        names = self.window[0]
        row = {"step": self.step} | {name: sum(w[name] for w in self.window) / len(self.window) for name in names}
        self.metrics.append(row | ({"validation_loss": self._validation_loss()} if validate else {}))
        if self.processes.first:
            write_metrics(self.metrics, self.run.resume / METRICS)  # for whoever watches a long run
        self.window = []

    def gradient_step(self) -> dict:
        run, step = self.run, self.step
        rows, rollout_metrics = self._rows()
        normaliser = count(rows)
        rate = self.stage.learning_rate(step, run.optimiser)
        beta = self.stage.beta(step, run.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        sums = {"loss": 0.0}
        share = self.processes.share(rows)
        for start in range(0, len(share), run.optimiser.micro_batch):
            scored = self._score(share[start : start + run.optimiser.micro_batch])
            loss, parts = self.loss.function(scored, normaliser, run.objective, beta)
            self.accelerator.backward(loss)
            for name, value in {"loss": loss.item(), **parts}.items():
                sums[name] = sums.get(name, 0.0) + value
        self.processes.add(p.grad for p in self.parameters if p.grad is not None)
        metrics = {"learning_rate": rate, **self.processes.added(sums)}
        norm = self.accelerator.clip_grad_norm_(self.parameters, run.optimiser.clip).item()
        if not (math.isfinite(metrics["loss"]) and math.isfinite(norm)):
            self._save_checkpoint()  # the weights are still those before this step
            raise UserError(
                f"training diverged at step {step + 1} (loss {metrics['loss']}, gradient norm {norm}): the last good "
                f"state is kept in '{run.resume}'; lower the learning rate or alpha and run again"
            )
        self.optimiser.step()
        if self.stage.loss == "sm":
            metrics["beta"] = beta
        return {**metrics, "gradient_norm": norm, **rollout_metrics}

    def _score(self, rows: Sequence[Sequence[Trajectory]]) -> list[Scored]:
        with self.accelerator.autocast():
            return score_batch(self.policy, rows, self.run.rollouts.share_prompts)

    def _rows(self) -> tuple[list[tuple[Trajectory, ...]], dict]:
        """The effective batch: rows of the data alone, or of data and rollout."""
        run, batch = self.run, self.run.optimiser.batch
        examples = self.batches[self.step]
        if not self.loss.rollouts:
            return [(example,) for example in examples], {}
        self._refill()
        entries = self._draw()
        if run.rollouts.share_prompts:
            examples = [run.train.example(entry.example, self.step) for entry in entries]
        rows = [(example, _as_actions(run.train, entry)) for example, entry in zip(examples, entries, strict=True)]
        actions = sum(len(entry.actions) for entry in entries)
        pops = sum(entry.actions.count(self.policy.bkspc) for entry in entries)
        metrics = {
            "pop_rate": pops / actions,
            "rollout_age": float(self.buffer.ages(self.step).mean()),
            "cut_off_share": sum(not entry.finished for entry in entries) / batch,
        }
        if run.rollouts.concurrent:
            metrics["rollout_wait"], self.waited = self.waited, 0.0  # seconds
        return rows, metrics

    def _draw(self) -> list[Entry]:
        """A batch of rollouts, each as likely as any other: one of the batches that a larger draw makes, by length."""
        run, batch = self.run, self.run.optimiser.batch
        rng = generator(run.seed, "replay", self.step)

        def length(entry: Entry) -> int:
            data = [run.train.example(entry.example, self.step)] if run.rollouts.share_prompts else []
            return sum(nodes(t, self.policy.bkspc) for t in (_as_actions(run.train, entry), *data))

        drawn = self.buffer.draw(batch * min(WINDOW, len(self.buffer) // batch), rng)
        batches = of_like_length(drawn, batch, length)
        return batches[rng.integers(len(batches))]

    def _refill(self) -> None:
        """Generation steps that are due; a later one is begun ahead of time, where rollouts are concurrent."""
        step, last = self.step - self.stage.start, self.stage.stop - self.stage.start - 1
        due = generation_due(step, self.interval)
        while due or len(self.buffer) < self.run.optimiser.batch:
            self._ask()
            self.buffer.add(self.collect_rollouts())
            self.arrived, due = [], False
        if next_generation(step, self.interval) <= min(step + self.ahead, last):
            self._ask()

    def _ask(self) -> None:
        """Begin a generation step, unless one is begun: rollouts of the policy as it is, for the next prompts."""
        if self.asked or self.arrived:
            return
        run, settings = self.run, self.run.rollouts
        first = self.generations * settings.generate
        items = [item for item, _ in Order(len(run.train), run.seed, "rollouts").slice(first, settings.generate)]
        decoding = Decoding(settings.max_actions, settings.temperature, settings.top_p, settings.top_k)
        streams = [stable_seed(run.seed, "rollout", first + k) for k in range(len(items))]
        items, streams = self.processes.share(items), self.processes.share(streams)
        prompts = [run.train.example(item, 0).prompt for item in items]
        self.producer.ask(Request(prompts, decoding, streams, batch=settings.generate))
        self.asked = items, self.step
        self.generations += 1

    def collect_rollouts(self) -> list[Entry]:
        """The rollouts asked for last, which may have to be waited for; none where none were."""
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

    @torch.no_grad()
    def _validation_loss(self) -> float:
        """Mean negative log-likelihood per imitated action of the validation examples."""
        self.policy.eval()
        examples = self.processes.share(self.run.validation.draws[0][:VALIDATION_EXAMPLES])
        sums, size = {"loss": 0.0, "actions": 0}, self.run.optimiser.micro_batch * 4
        for start in range(0, len(examples), size):
            (scored,) = self._score([(example,) for example in examples[start : start + size]])
            sums["loss"] += core.behavioural_cloning(scored.scores).item()
            sums["actions"] += scored.scores.imitated.sum().item()
        self.policy.train()
        sums = self.processes.added(sums)
        return sums["loss"] / sums["actions"]

    def _save_checkpoint(self) -> None:
        if self.processes.first:
            save_checkpoint(self.run.resume, self.step, self._state())

    def _state(self) -> dict:
        return {
            "policy": trained_tensors(self.policy),
            "optimiser": self.optimiser.state_dict(),
            "buffer": self.buffer.state_dict(),
            "arrived": [list(astuple(entry)) for entry in self.collect_rollouts()],
            "generations": self.generations,
            "metrics": self.metrics,
            "window": self.window,
        }

    def _restore(self) -> None:
        found = load_checkpoint(self.run.resume)
        if found is None:
            return
        self.step, state = found
        self.policy.load_state_dict(state["policy"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        self.buffer.load_state_dict(state["buffer"])
        self.arrived = [Entry(*fields) for fields in state["arrived"]]
        self.generations, self.metrics, self.window = state["generations"], state["metrics"], state["window"]
        if self.processes.first:
            print(f"continuing from step {self.step}")


def score_batch(policy: Policy, rows: Sequence[Sequence[Trajectory]], share_prompts: bool) -> list[Scored]:
    """The scored columns of rows; one tree per row where its trajectories share their prompt, else one for each."""
    trees = [rows] if share_prompts else [[(t,) for t in column] for column in zip(*rows, strict=True)]
    return [scored for column in trees for scored in score_rows(policy, column)]


def new_optimiser(policy: Policy, settings: Optimiser) -> torch.optim.AdamW:
    """AdamW over the parameters that are trained, at its peak learning rate."""
    trained = [p for p in policy.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def _as_actions(corpus: Corpus, entry: Entry) -> Trajectory:
    return Trajectory(corpus.example(entry.example, 0).prompt, entry.actions, [True] * len(entry.actions))


def write_metrics(rows: Sequence[dict], file: Path) -> None:
    """The metrics file, written whole: one row per interval, empty where a quantity was not measured."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(file, text.getvalue())
