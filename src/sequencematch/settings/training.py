"""Settings of training: the optimiser, the schedule, the objective and its rollouts."""

import argparse
from collections.abc import Iterator
from typing import Literal

from pydantic import field_validator, model_validator

from sequencematch.settings.losses import Settings
from sequencematch.settings.options import add_settings, settings_from
from sequencematch.settings.section import Count, Natural, Section, Size, setting


class Optimiser(Section):
    """AdamW, its batches and its warm-up."""

    batch: Size = setting(32, "sequences per gradient step")
    micro_batch: Size = setting(32, "sequences per forward pass (accumulated up to batch)")
    learning_rate: float = setting(3e-3, "peak learning rate of AdamW", gt=0)
    weight_decay: float = setting(0.0, "AdamW's decoupled weight decay", ge=0)
    clip: float = setting(1.0, "largest gradient norm", gt=0)
    warmup: Natural = setting(100, "steps of linear warm-up")
    dropout: float = setting(0.0, "share of the embeddings' and the MLPs' outputs that a step sets to 0", ge=0, lt=1)

    @model_validator(mode="after")
    def _whole_micro_batches(self):
        if self.batch % self.micro_batch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of micro_batch ({self.micro_batch})")
        return self


class Schedule(Section):
    """How many gradient steps each stage has, and what happens at which step."""

    base_steps: Natural = setting(1500, "steps of the base model all methods start from (scratch)")
    pretrain_steps: Natural = setting(0, "k: steps of BC alone before SequenceMatch")
    steps: Count = setting(600, "steps of every method after the base model, k included")
    decay_start: Natural = setting(300, "step at which the cosine decay to 0 begins")
    beta_final: float = setting(0.2, "final weight of BC in beta L_BC + (1 - beta) L_SM", ge=0, le=1)
    beta_steps: Count = setting(150, "steps over which beta falls from 1 to its final value")
    bkspc_start: Literal["mean", "noise"] = setting(
        "mean",
        "start of the row of <bkspc>: the mean of the trained network's rows, or the row that gives <bkspc> the share "
        "of actions on clean validation states that it has in the noised data",
    )
    metrics_every: Count = setting(25, "steps between rows of the metrics file")
    validate_every: Count = setting(150, "steps between validation losses")
    checkpoint_every: Count = setting(300, "steps between checkpoints a killed job resumes from")

    @model_validator(mode="after")
    def _k_below_total(self):
        if self.pretrain_steps >= self.steps:
            raise ValueError(f"pretrain_steps (k = {self.pretrain_steps}) must be below steps ({self.steps})")
        return self


class Objective(Section):
    """The constants of the losses."""

    divergence: Literal["kl", "js", "chi2", "chi2_mixture", "mle"] = setting(
        "chi2_mixture", "f-divergence of SequenceMatch"
    )
    alpha: float = setting(0.03, "weight of the causal-entropy term", gt=0)
    gamma: float = setting(0.95, "discount", gt=0, lt=1)
    weighting: Literal["discounted", "uniform"] = setting(
        "discounted", "weight gamma^i per transition, or the same for all"
    )
    c: float = setting(0.5, "weight of the chi2-mixture's quadratic", ge=0)
    beta_mix: float = setting(0.5, "share of that quadratic on data (the rest on rollouts)", ge=0, le=1)
    js_delta: float = setting(0.01, "js continues as a straight line below -log 2 + js_delta", gt=0)
    value_from: Literal["data", "both"] = setting(
        "data", "trajectories that the value bracket is estimated on: data, or half on data and half on rollouts"
    )
    imitate_noise: bool = setting(False, "also imitate the injected wrong tokens (a departure; see README)")
    imitate_prompt: bool = setting(False, "MLE and BC also imitate the prompt's tokens (the paper does for text)")
    label_smoothing: float = setting(
        0.0, "share of each imitated action that is spread evenly over the vocabulary", ge=0, lt=1
    )
    uls_ngram: Count = setting(3, "length of the repeated n-grams that unlikelihood penalises")
    uls_weight: float = setting(1.0, "weight of the unlikelihood term", ge=0)
    iq_weight: float = setting(0.1, "weight of the squared rewards beside maximum likelihood", ge=0)

    @model_validator(mode="after")
    def _bracket_telescopes(self):
        if self.weighting == "uniform" and self.value_from == "data":
            raise ValueError(
                "weighting 'uniform' needs value_from 'both': its value bracket does not telescope, so data and "
                "rollouts differ"
            )
        return self


class Rollouts(Section):
    """How rollouts are drawn, kept and paired with data."""

    buffer: Size = setting(1000, "sequences in the replay buffer; the oldest leave first")
    seen: Count = setting(8, "times each rollout is trained on, on average")
    generate: Size = setting(128, "sequences per generation step (G)")
    share_prompts: bool = setting(
        False,
        "data of the rollouts' own prompts, each prompt encoded once; else data and rollouts are drawn separately",
    )
    temperature: float = setting(1.0, "sampling temperature; 0 is greedy", ge=0, lt=1e6)
    top_p: float = setting(1.0, "nucleus mass; 1 is off", gt=0, le=1)
    top_k: Natural = setting(0, "most likely actions kept; 0 is off")
    max_actions: Count = setting(24, "actions after which a rollout is cut off, backspaces included")

    @field_validator("temperature")
    @classmethod
    def _has_digits(cls, value):
        if 0 < value < 1e-6:
            raise ValueError(f"{value} is too small to divide by: choose 0, which is greedy, or 1e-6 and above")
        return value

    concurrent: bool = setting(False, "draw rollouts in a second process while training continues")
    staleness: Natural = setting(
        8, "most gradient steps by which the weights behind rollouts that enter the buffer are old (concurrent)"
    )


def unfit(batch: int, rollouts: Rollouts | None, processes: int) -> Iterator[tuple[str, str, str]]:
    """What does not fit together in training: the section, the key, and what is wrong with it.

    batch: examples per step, all processes together. rollouts: None where a loss draws none.
    """
    if batch < processes:
        words = f"gives {batch} examples per step, fewer than there are processes ({processes})"
        yield "optimiser", "batch", f"{words}: raise it, or lower jobs.train.gpu"
    if rollouts is None:
        return
    if rollouts.concurrent and processes > 1:
        words = f"needs training by one process, not by {processes}"
        yield "rollouts", "concurrent", f"{words}: set it to false, or lower jobs.train.gpu to 1"
    if rollouts.buffer < batch:
        words = f"is {rollouts.buffer}, but must be at least optimiser.batch ({batch})"
        yield "rollouts", "buffer", f"{words}, or no batch can be drawn from it"
    if rollouts.generate * rollouts.seen < batch:
        words = f"({rollouts.generate}) times rollouts.seen ({rollouts.seen}) must be at least optimiser.batch"
        yield "rollouts", "generate", f"{words} ({batch}), or rollouts would be generated more than once a step"


TRAINING: tuple[type[Section], ...] = (Optimiser, Schedule, Objective, Rollouts)


def add_training_settings(parser: argparse.ArgumentParser, reads: Settings | None = None) -> None:
    """Options for the settings of training that ``reads`` names by section (default: all of them)."""
    for section in TRAINING:
        if reads is None or section.group() in reads:
            add_settings(parser, section, reads and reads[section.group()])


def training_settings(args: argparse.Namespace, reads: Settings) -> tuple[Optimiser, Schedule, Objective, Rollouts]:
    """The settings of training in ``args``. Raises UserError where one that ``reads`` names is missing or wrong."""
    return tuple(settings_from(args, section, reads.get(section.group(), ())) for section in TRAINING)  # type: ignore[return-value]
