"""The one training loop. Base models, MLE, BC, SequenceMatch and ULS differ only in loss and data.

A run is bitwise repeatable on a CPU. Every random draw comes from a stream named by (seed, purpose, step), so a killed
run that continues from its last checkpoint gives the same result as one that was not killed. Several processes
(``processes``) do the same steps together: the same rows, rollouts and sums, apart from rounding.
"""

import csv
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType
from torch import nn
from tqdm import tqdm

from sequencematch import core
from sequencematch.errors import UserError
from sequencematch.model.policy import Policy, trained_tensors
from sequencematch.model.processes import Processes
from sequencematch.sampling.producer import Background, InProcess, Producer
from sequencematch.seeding import stable_seed
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule, unfit
from sequencematch.store.files import write_text_atomically
from sequencematch.training.batches import Batches, Corpus, Row, by_length, divisors
from sequencematch.training.checkpoints import load_checkpoint, save_checkpoint
from sequencematch.training.losses import FUNCTIONS, ScoredBatch, score_batch
from sequencematch.training.rollouts import RolloutSchedule
from sequencematch.training.schedule import Stage

VALIDATION_EXAMPLES = 500
METRICS = "metrics.csv"
MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16"}


@dataclass
class Run:
    """Everything that a run consists of."""

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
    tracker: str | GeneralTracker = "none"  # or one of accelerate's, which gets each row of the metrics file
    tracked: Path = Path("tracker")  # the folder that it writes to
    initial: dict | None = None  # the optimiser state to continue from
    rebuild: Callable[[], Policy] | None = None  # a policy equal to the untrained one, for concurrent rollouts


def train(run: Run) -> tuple[list[dict], dict]:
    """Train ``run.policy`` in place; return the rows of the metrics file and the optimiser's final state.

    Raises UserError if the loss is not finite, or if the process that draws rollouts ends. Checkpoints are kept.
    """
    trainer = Trainer(run)
    try:
        return trainer.train()
    finally:
        trainer.close()


class Trainer:
    """The state of a run between two steps."""

    def __init__(self, run: Run):
        self.run, self.stage, self.policy = run, run.stage, run.policy
        self.loss = LOSSES[self.stage.loss]
        self.processes = Processes()
        self.batch = self.loss.examples(run.optimiser.batch)
        for fault in unfit(self.batch, run.rollouts if self.loss.rollouts else None, self.processes.count):
            raise UserError("{}.{} {}".format(*fault))
        self.accelerator = tracked_accelerator(run)
        self.policy.to(self.accelerator.device)
        self.parameters = [p for p in self.policy.parameters() if p.requires_grad]
        self.optimiser = new_optimiser(self.policy, run.optimiser)
        if run.initial is not None:
            self.optimiser.load_state_dict(run.initial)
            for group in self.optimiser.param_groups:  # the state brings the settings of the stage before with it
                group["weight_decay"] = run.optimiser.weight_decay
        self.batches = Batches(run.train, self.batch, run.seed, "examples")
        self.length, self.cloned = run.train.length, run.train.cloned(run.objective.imitate_prompt)
        self.rollouts: RolloutSchedule | None = None
        if self.loss.rollouts:
            producer: Producer = InProcess(self.policy)
            if run.rollouts.concurrent:
                assert run.rebuild is not None, "it makes the policy of the second process"
                producer = Background(self.policy, run.rebuild)
            drawn = run.rollouts, run.train, self.batch, self.stage.stop - self.stage.start, run.seed
            self.rollouts = RolloutSchedule(*drawn, producer, self.processes)
        if run.optimiser.dropout:
            drop_outputs(self.policy, run.optimiser.dropout)
        self.step = self.stage.start
        self.metrics: list[dict] = []
        self.window: list[dict] = []
        self._restore()

    def close(self) -> None:
        """End the process that draws rollouts, if there is one."""
        if self.rollouts is not None:
            self.rollouts.producer.close()
        if self.accelerator.trackers:
            self.accelerator.end_training()

    def train(self) -> tuple[list[dict], dict]:
        """Train to the end of the stage. Returns the rows of the metrics file, and the optimiser's state."""
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
            write_metrics(self.metrics, self.run.resume / METRICS)  # so that a long run can be followed
        self.accelerator.log(self.metrics[-1], step=self.step)
        self.window = []

    def gradient_step(self) -> dict[str, float]:
        """Take the next gradient step; return what it measured, by the names of the metrics file."""
        run = self.run
        rows, rollout_metrics = self.rows()
        normaliser = divisors(rows, self.length, self.cloned)
        rate = self.stage.learning_rate(self.step, run.optimiser)
        beta = self.stage.beta(self.step, run.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        torch.manual_seed(stable_seed(run.seed, "dropout", self.step, self.processes.rank))
        sums = {"loss": 0.0}
        share = self.processes.share(by_length(rows, self.policy.inputs, run.rollouts.share_prompts))
        for start in range(0, len(share), run.optimiser.micro_batch):
            scored = self._score(share[start : start + run.optimiser.micro_batch], run.objective.imitate_prompt)
            loss, parts = FUNCTIONS[self.stage.loss](scored, normaliser, run.objective, beta)
            self.accelerator.backward(loss)
            for name, value in {"loss": loss.item(), **parts}.items():
                sums[name] = sums.get(name, 0.0) + value
        self.processes.add(p.grad for p in self.parameters if p.grad is not None)
        metrics = {"learning_rate": rate, **self.processes.added(sums)}
        norm = self.accelerator.clip_grad_norm_(self.parameters, run.optimiser.clip).item()
        if not (math.isfinite(metrics["loss"]) and math.isfinite(norm)):
            self._save_checkpoint()  # the weights are still those before this step
            raise UserError(
                f"training diverged at step {self.step + 1} (loss {metrics['loss']}, gradient norm {norm}): the last "
                f"good state is kept in '{run.resume}'; lower the learning rate or alpha and run again"
            )
        self.optimiser.step()
        self.step += 1
        if "beta_final" in self.loss.schedule:  # beta falls during training
            metrics["beta"] = beta
        return {**metrics, "gradient_norm": norm, **rollout_metrics}

    def rows(self) -> tuple[list[Row], dict[str, float]]:
        """The rows, (data,) or (data, rollout), of this step's effective batch, and measurements of its rollouts."""
        run, examples = self.run, self.batches[self.step]
        if self.rollouts is None:
            return [(example,) for example in examples], {}
        step = self.step - self.stage.start
        entries = self.rollouts.draw(step)
        if run.rollouts.share_prompts:
            examples = [run.train.example(entry.example, self.step) for entry in entries]
        read = self.rollouts.relabelled if self.loss.relabels else self.rollouts.trajectory
        rows: list[Row] = list(zip(examples, map(read, entries), strict=True))
        metrics = {
            "pop_rate": sum(a >= self.policy.bkspc for e in entries for a in e.actions)
            / sum(len(e.actions) for e in entries),
            "rollout_age": float(self.rollouts.buffer.ages(step).mean()),
            "cut_off_share": sum(not entry.finished for entry in entries) / len(entries),
        }
        if run.rollouts.concurrent:
            metrics["rollout_wait"] = self.rollouts.seconds_waited()
        return rows, metrics

    def _score(self, rows: Sequence[Row], imitate_prompt: bool) -> ScoredBatch:
        with self.accelerator.autocast():
            return score_batch(self.policy, rows, self.run.rollouts.share_prompts, imitate_prompt)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        """Mean negative log-likelihood per imitated action of the validation examples."""
        self.policy.eval()
        examples = self.processes.share(self.run.validation.draws[0][:VALIDATION_EXAMPLES])
        sums, size = {"loss": 0.0, "actions": 0}, self.run.optimiser.micro_batch * 4
        for start in range(0, len(examples), size):
            scores = self._score([(example,) for example in examples[start : start + size]], False).data.scores
            sums["loss"] += core.behavioural_cloning(scores).item()
            sums["actions"] += scores.imitated.sum().item()
        self.policy.train()
        sums = self.processes.added(sums)
        return sums["loss"] / sums["actions"]

    def _save_checkpoint(self) -> None:
        if self.processes.first:
            rollouts = self.rollouts.state_dict() if self.rollouts else {}
            state: dict = {"policy": trained_tensors(self.policy), "optimiser": self.optimiser.state_dict()}
            state |= {"rollouts": rollouts, "metrics": self.metrics, "window": self.window}
            save_checkpoint(self.run.resume, self.step, state)

    def _restore(self) -> None:
        found = load_checkpoint(self.run.resume)
        if found is None:
            return
        self.step, state = found
        self.policy.load_state_dict(state["policy"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        if self.rollouts:
            self.rollouts.load_state_dict(state["rollouts"])
        self.metrics, self.window = state["metrics"], state["window"]
        if self.processes.first:
            print(f"continuing from step {self.step}")


def drop_outputs(policy: Policy, rate: float) -> None:
    """Let training set a share of the outputs of embeddings and MLPs to 0, and scale up the others (dropout).

    Only modules called ``mlp`` are found, as Llama, Qwen, Gemma and GPT-2 call theirs. (Not in the paper.)
    """
    dropout = nn.Dropout(rate)
    embeddings = policy.lm.get_input_embeddings()
    for name, module in policy.lm.named_modules():
        if module is embeddings or name.endswith(".mlp"):
            module.register_forward_hook(lambda module, _, output: dropout(output) if module.training else output)


def tracked_accelerator(run: Run) -> Accelerator:
    """The accelerator of a run, with its tracker. Raises UserError where the tracker's package is missing."""
    precision = MIXED_PRECISION[run.precision]
    if run.tracker == "none":
        return Accelerator(mixed_precision=precision)
    if isinstance(run.tracker, str) and run.tracker not in LoggerType.list():
        known = ", ".join(["none", *LoggerType.list()])
        raise UserError(f"tracker '{run.tracker}' (SEQUENCEMATCH_TRACKER) is unknown; known are: {known}")
    run.tracked.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(mixed_precision=precision, log_with=run.tracker, project_dir=run.tracked)
    if not accelerator.log_with:
        raise UserError(
            f"tracker '{run.tracker}' is not installed: pip install 'sequencematch[trackers]', or choose none"
        )
    names = {"wandb": {"dir": str(run.tracked), "name": str(run.tracked.parent)}}
    accelerator.init_trackers("sequencematch", init_kwargs=names)
    return accelerator


def new_optimiser(policy: Policy, settings: Optimiser) -> torch.optim.AdamW:
    """AdamW over the parameters that are trained, at its peak learning rate."""
    trained = [p for p in policy.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def write_metrics(rows: Sequence[dict], file: Path) -> None:
    """Write the metrics file atomically: one row per interval, empty where a quantity was not measured."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(file, text.getvalue())
