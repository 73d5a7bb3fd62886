"""The arguments of a ``SequenceMatchTrainer``: its settings, and what it refuses of those that transformers accepts."""

import copy
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import ValidationError
from transformers import TrainingArguments

from sequencematch.errors import UserError
from sequencematch.settings.explain import sentence
from sequencematch.settings.model import Model
from sequencematch.settings.noise import Noise
from sequencematch.settings.options import SomeSection
from sequencematch.settings.section import Rate, Section, setting
from sequencematch.settings.training import Objective, Rollouts, Schedule


class Level(Section):
    """The noise level."""

    eta: Rate = setting(0.2, "chance of a wrong token and its <bkspc> before each token")


def _as_in(section: type[Section], name: str) -> Any:
    """A field with the default and the meaning of a setting of the pipeline."""
    described = section.model_fields[name]
    return field(default=described.default, metadata={"help": described.description})


@dataclass
class SequenceMatchConfig(TrainingArguments):
    """The arguments of a ``SequenceMatchTrainer``: those of transformers, and those of the method (appendix E)."""

    eta: float = _as_in(Level, "eta")
    deletions: int = field(
        default=1,
        metadata={"help": "most tokens that one action deletes; above 1, as many wrong tokens in a row on average"},
    )
    noise_draws: int = _as_in(Noise, "draws")
    bc_steps: int | None = field(
        default=None, metadata={"help": "gradient steps of behavioural cloning alone, at the start; a third of all"}
    )
    beta_final: float = _as_in(Schedule, "beta_final")
    beta_steps: int | None = field(
        default=None, metadata={"help": "steps over which that weight falls from 1; a third of all"}
    )
    divergence: str = _as_in(Objective, "divergence")
    alpha: float = _as_in(Objective, "alpha")
    gamma: float = _as_in(Objective, "gamma")
    rollout_buffer: int = _as_in(Rollouts, "buffer")
    rollouts_seen: int = _as_in(Rollouts, "seen")
    rollouts_generated: int = _as_in(Rollouts, "generate")
    max_actions: int = field(default=64, metadata={"help": "actions after which a rollout is cut off"})

    def __post_init__(self):
        super().__post_init__()
        self.remove_unused_columns = False


# Settings of the pipeline, and the field of SequenceMatchConfig that gives each.
FIELDS: dict[type[Section], dict[str, str]] = {
    Level: {"eta": "eta"},
    Model: {"deletions": "deletions"},
    Noise: {"draws": "noise_draws"},
    Objective: {name: name for name in ("divergence", "alpha", "gamma")},
    Rollouts: {
        "buffer": "rollout_buffer",
        "seen": "rollouts_seen",
        "generate": "rollouts_generated",
        "max_actions": "max_actions",
    },
    Schedule: {
        "pretrain_steps": "bc_steps",
        "steps": "max_steps",
        "beta_final": "beta_final",
        "beta_steps": "beta_steps",
    },
}
# The pipeline's names in its messages, and ours.
OURS = {f"rollouts.{name}": ours for name, ours in FIELDS[Rollouts].items()} | {
    "model.deletions": "deletions",
    "optimiser.batch": "per_device_train_batch_size * gradient_accumulation_steps",
    "pretrain_steps": "bc_steps",
    "steps": "max_steps",
}

FORWARD = "it changes the network's own forward pass, which is not called"
ONE_PROCESS = "it trains with one process; the pipeline trains on several GPUs"
PREDICTIONS = ("compute_metrics", "preprocess_logits_for_metrics", "include_for_metrics", "batch_eval_metrics")
# What transformers' trainer accepts and this one cannot heed, and why.
REFUSED = {
    **dict.fromkeys(PREDICTIONS, "evaluation gives a loss and no predictions; use sequencematch.sample"),
    "compute_loss_func": "the loss is SequenceMatch",
    "data_collator": "rows become trajectories, which are put together by length",
    "model_init": "it trains the model that it is given",
    **dict.fromkeys(("label_smoothing_factor", "label_names"), "a trajectory has no labels"),
    "neftune_noise_alpha": "a deleted token must leave no trace, and embeddings with noise would",
    **dict.fromkeys(("train_sampling_strategy", "group_by_length"), "examples come from one shuffled stream"),
    "include_num_input_tokens_seen": "a batch has no input_ids",
    "auto_find_batch_size": "rollouts are drawn for batches of one size",
    "fp16": "the rewards leave the range of float16; use bf16",
    "fp16_full_eval": "the row of <bkspc> and the offsets stay in float32; use bf16",
    "bf16_full_eval": "the row of <bkspc> and the offsets stay in float32; use bf16",
    **dict.fromkeys(("torch_compile", "use_liger_kernel"), FORWARD),
    **dict.fromkeys(("fsdp", "deepspeed", "parallelism_config"), ONE_PROCESS),
}


def check_arguments(args: SequenceMatchConfig, options: Mapping[str, Any]) -> None:
    """Raises UserError where a value is not allowed, or differs from transformers' default and would have no effect."""
    given, defaults = {**vars(args), **options}, {f.name: f.default for f in fields(TrainingArguments)}
    for name, why in REFUSED.items():
        if given.get(name) and given[name] not in ("no", defaults.get(name)):  # transformers 4.57 writes "no" itself
            raise UserError(f"SequenceMatchTrainer cannot heed {name} ({why}): leave it out")
    best = args.metric_for_best_model
    if best and not best.endswith("loss"):
        raise UserError(f"metric_for_best_model is '{best}', but evaluation measures the loss alone: set it to 'loss'")
    for section in (section for section in FIELDS if section is not Schedule):  # which follows the number of rows
        settings_of(args, section)


def completed(args: SequenceMatchConfig, rows: int) -> SequenceMatchConfig:
    """A copy of the caller's arguments, with the number of steps for that many rows and the schedule of these steps."""
    args = copy.copy(args)
    if args.max_steps <= 0:
        batch = args.train_batch_size * args.gradient_accumulation_steps
        args.max_steps = math.ceil(args.num_train_epochs * rows / batch)
    third = args.max_steps // 3
    args.bc_steps = third if args.bc_steps is None else args.bc_steps
    args.beta_steps = max(1, third) if args.beta_steps is None else args.beta_steps
    return args


def settings_of(args: SequenceMatchConfig, section: type[SomeSection]) -> SomeSection:
    """Settings of the pipeline from our arguments. Raises UserError where a value is not allowed."""
    ours = FIELDS[section]
    try:
        return section.model_validate({name: getattr(args, field) for name, field in ours.items()})
    except ValidationError as error:
        with in_our_words():
            raise UserError(sentence(error, section, lambda at: ours[at[0]] if at else "")) from None


@contextmanager
def in_our_words() -> Iterator[None]:
    """Name settings in messages of the pipeline as ``SequenceMatchConfig`` does."""
    try:
        yield
    except UserError as error:
        names = "|".join(map(re.escape, OURS))
        raise UserError(re.sub(rf"\b({names})\b(?! =)", lambda found: OURS[found[0]], str(error))) from None
