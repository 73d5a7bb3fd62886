"""Every setting of an experiment: its name, type, bounds, default and meaning, in one place.

A section is a small model; scripts turn a section into ``--options`` (``cli.add_settings``), the Snakefile
turns the configuration into the options of each rule (``Config.settings``), and both are checked here.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


def setting(default, meaning: str, **bounds):
    """A field with its default, its bounds, and the sentence shown by --help."""
    return Field(default, description=meaning, **bounds)


class Section(BaseModel):
    """A group of settings; a name it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, value, field: ValidationInfo):
        if isinstance(value, bool) and cls.model_fields[field.field_name].annotation is not bool:
            raise PydanticCustomError("bool_for_other", "a truth value where another type is needed")
        return value


class Data(Section):
    generator: Literal["add_or_sub_in_base", "mul", "list_prime_factors"] = setting(
        "mul", "which arithmetic questions to generate"
    )
    entropy: tuple[float, float] = setting((1.0, 3.0), "the generator's difficulty range, in decimal digits")
    train: Count = setting(20_000, "training examples")
    validation: Count = setting(500, "validation examples, for every choice made before the tables")
    test: Count = setting(500, "test examples, read by the tables alone")
    seed: int = setting(0, "seed of the generated questions (shared by all runs)")

    @model_validator(mode="after")
    def _range_is_ordered(self):
        low, high = self.entropy
        if not 0 < low <= high:
            raise ValueError(
                f"entropy [{low}, {high}] is no range: it must go from above 0 up to something not below it"
            )
        return self


class Noise(Section):
    kind: Literal["task", "random", "unigram", "model"] = setting("task", "where injected wrong tokens come from")
    draws: Count = setting(2, "independent noisings of each example, used in turn by successive epochs")


class Model(Section):
    source: str = setting("scratch", "'scratch', or the hub name or local path of any causal LM")
    revision: str = setting("main", "branch, tag or commit of a hub model")
    trust_remote_code: bool = setting(False, "run the Python code that comes with the model: read it first")
    layers: Count = setting(2, "transformer layers (scratch)")
    width: Count = setting(64, "hidden size (scratch)")
    heads: Count = setting(4, "attention heads (scratch)")
    context: Count = setting(128, "longest position (scratch)")
    initial_spread: float = setting(0.02, "standard deviation of the initial weights (scratch)", gt=0)
    rope_theta: float = setting(10_000.0, "base of the rotary position frequencies (scratch)", gt=0)
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "precision of the network's products (and of pretrained weights); the objective is float32"
    )
    quantise: Literal["none", "nf4"] = setting("none", "4-bit weights under the adapter (bitsandbytes)")
    lora_rank: Annotated[int, Field(ge=0)] = setting(0, "rank of LoRA adapters; 0 trains all weights")
    lora_alpha: Count = setting(16, "scale of LoRA adapters")
    gradient_checkpointing: bool = setting(False, "recompute activations in the backward pass")

    @model_validator(mode="after")
    def _parts_fit(self):
        if self.source == "scratch" and self.width % (2 * self.heads):
            raise ValueError(f"width ({self.width}) must be a multiple of twice the heads ({self.heads})")
        if self.quantise != "none" and self.lora_rank == 0:
            raise ValueError("quantised weights cannot be trained: set lora_rank above 0 or quantise to none")
        return self


class Optimiser(Section):
    batch: Count = setting(32, "sequences per gradient step")
    micro_batch: Count = setting(32, "sequences per forward pass (accumulated up to batch)")
    learning_rate: float = setting(3e-3, "peak learning rate of AdamW", gt=0)
    weight_decay: float = setting(0.0, "AdamW's decoupled weight decay", ge=0)
    clip: float = setting(1.0, "largest gradient norm", gt=0)
    warmup: Annotated[int, Field(ge=0)] = setting(100, "steps of linear warm-up")

    @model_validator(mode="after")
    def _whole_micro_batches(self):
        if self.batch % self.micro_batch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of micro_batch ({self.micro_batch})")
        return self


class Schedule(Section):
    base_steps: Annotated[int, Field(ge=0)] = setting(1500, "steps of the base model all methods start from (scratch)")
    pretrain_steps: Annotated[int, Field(ge=0)] = setting(300, "k: steps of BC alone before SequenceMatch")
    steps: Count = setting(600, "steps of every method after the base model, k included")
    decay_start: Annotated[int, Field(ge=0)] = setting(300, "step at which the cosine decay to 0 begins")
    beta_final: float = setting(0.2, "final weight of BC in beta L_BC + (1 - beta) L_SM", ge=0, le=1)
    beta_steps: Count = setting(150, "steps over which beta falls from 1 to its final value")
    metrics_every: Count = setting(25, "steps between rows of the metrics file")
    validate_every: Count = setting(150, "steps between validation losses")
    checkpoint_every: Count = setting(300, "steps between checkpoints a killed job resumes from")

    @model_validator(mode="after")
    def _k_below_total(self):
        if self.pretrain_steps >= self.steps:
            raise ValueError(
                f"pretrain_steps (k = {self.pretrain_steps}) must lie below steps ({self.steps}), "
                "or SequenceMatch has no step left"
            )
        return self


class Objective(Section):
    divergence: Literal["kl", "js", "chi2", "chi2_mixture", "mle"] = setting(
        "chi2_mixture", "f-divergence of SequenceMatch"
    )
    alpha: float = setting(0.03, "weight of the causal-entropy term", gt=0)
    gamma: float = setting(0.95, "discount", gt=0, lt=1)
    weighting: Literal["discounted", "uniform"] = setting("discounted", "weight gamma^i per transition, or all alike")
    c: float = setting(0.5, "weight of the chi2-mixture's quadratic", ge=0)
    beta_mix: float = setting(0.5, "share of that quadratic on data (the rest on rollouts)", ge=0, le=1)
    js_delta: float = setting(0.01, "js continues as a straight line below -log 2 + js_delta", gt=0)
    imitate_noise: bool = setting(False, "also imitate the injected wrong tokens (a departure; see README)")
    uls_ngram: Count = setting(3, "length of the repeated n-grams that unlikelihood penalises")
    uls_weight: float = setting(1.0, "weight of the unlikelihood term", ge=0)


class Rollouts(Section):
    buffer: Count = setting(1000, "sequences in the replay buffer; the oldest leave first")
    seen: Count = setting(8, "times each rollout is trained on, on average")
    generate: Count = setting(128, "sequences per generation step (G)")
    temperature: float = setting(1.0, "sampling temperature; 0 is greedy", ge=0)
    top_p: float = setting(1.0, "nucleus mass; 1 is off", gt=0, le=1)
    top_k: Annotated[int, Field(ge=0)] = setting(0, "most likely actions kept; 0 is off")
    max_actions: Count = setting(24, "actions after which a rollout is cut off, backspaces included")


class Evaluation(Section):
    split: Literal["validation", "test"] = setting(
        "test", "which split is sampled; tables read test, tuning validation"
    )
    batch: Count = setting(128, "sequences decoded side by side")
    max_actions: Count = setting(24, "actions after which a sequence is cut off, backspaces included")
    perturbation: tuple[Rate, ...] = setting((0.05, 0.1), "rates at which emitted tokens are replaced by wrong ones")
