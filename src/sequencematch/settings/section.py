"""Every setting of an experiment: its name, type, bounds, default and meaning, in one place.

A section is a small model; scripts turn a section into ``--options`` (``script.add_settings``), the Snakefile
turns the configuration into the options of each rule (``Config.settings``), and both are checked here.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sequencematch.errors import UserError
from sequencematch.settings.decodings import decoding_options

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


class Dataset(Section):
    """What every family of tasks has: so many examples of each split, drawn by a seed."""

    train: Count = setting(20_000, "training examples (of text: documents)")
    validation: Count = setting(500, "validation examples, for every choice made before the tables")
    test: Count = setting(500, "test examples, read by the tables alone")
    seed: int = setting(0, "seed of which examples these are (shared by all runs)")

    @property
    def lengths(self) -> tuple[int, int]:
        """Most tokens of a prompt and of a completion, as far as the settings say: a prompt has ``<bos>`` at least."""
        return 1, 0


class Arithmetic(Dataset):
    family: Literal["arithmetic"] = setting("arithmetic", "generated questions and their solutions")
    generator: Literal["add_or_sub_in_base", "mul", "list_prime_factors"] = setting(
        "mul", "which arithmetic questions to generate"
    )
    entropy: tuple[float, float] = setting((1.0, 3.0), "the generator's difficulty range, in decimal digits")

    @model_validator(mode="after")
    def _range_is_ordered(self):
        low, high = self.entropy
        if not 0 < low <= high:
            raise ValueError(
                f"entropy [{low}, {high}] is no range: it must go from above 0 up to something not below it"
            )
        return self


class Language(Dataset):
    """Tasks whose examples come from a corpus."""

    source: Name = setting("phrases", "name of the corpus, an entry of the configuration's sources")
    vocabulary: Annotated[int, Field(ge=259)] = setting(
        512, "tokens of the byte-level BPE made for it, 3 special ones and 256 bytes included (scratch)"
    )


class Translation(Language):
    family: Literal["translation"] = setting("translation", "sentences and their translations")
    languages: tuple[str, str] = setting(("en", "fr"), "codes of the languages translated from and to")
    longest: Count = setting(
        64, "most tokens of a question (<bos> included) and of an answer (<eos> included); longer pairs are left out"
    )

    @property
    def lengths(self) -> tuple[int, int]:
        return self.longest, self.longest


class Text(Language):
    family: Literal["text"] = setting("text", "passages of documents and how they go on")
    source: Name = setting("python_topics", "name of the corpus, an entry of the configuration's sources")
    prompt: Count = setting(32, "tokens given, <bos> included")
    continuation: Count = setting(64, "tokens to be written after them")

    @property
    def lengths(self) -> tuple[int, int]:
        return self.prompt, self.continuation


class Source(Section):
    """A corpus: where its rows are, and what may be done with them."""

    kind: Literal["hub", "files", "generated"] = setting("generated", "where the corpus comes from")
    name: str = setting("", "data set on the hub, or a local folder in its format; name of the generator (generated)")
    configuration: str = setting("", "configuration of the data set, if it has several (hub)")
    revision: str = setting("", "commit of the data set; it must be given, except for a local folder (hub)")
    train: tuple[str, ...] = setting(
        (), "files of the training split: two aligned texts, one .tsv or one .jsonl; for text .txt or .jsonl (files)"
    )
    validation: tuple[str, ...] = setting((), "files of the validation split; held out of train without (files)")
    test: tuple[str, ...] = setting((), "files of the test split; held out of train without (files)")
    separator: str = setting("", "regular expression found in the first line of each document of a .txt (files)")
    licence: str = setting("", "what may be done with the corpus, and who says so")
    digest: str = setting("", "SHA-256 of the rows read, as a provenance.json states it; checked if given")

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The files of each split that has some; none where the kind is another."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: files for split, files in named.items() if files and self.kind == "files"}

    @field_validator("separator")
    @classmethod
    def _is_an_expression(cls, value):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression ({error})") from None
        return value

    @model_validator(mode="after")
    def _says_where(self):
        if self.kind == "files" and not self.train:
            raise ValueError("a source of kind 'files' needs the files of its training split (train)")
        if self.kind != "files" and not self.name:
            raise ValueError(f"a source of kind '{self.kind}' needs a name")
        if self.kind == "hub" and not self.revision and not Path(self.name).is_dir():
            raise ValueError("a source of kind 'hub' needs a revision, or it would change under the results")
        return self


class Noise(Section):
    kind: Literal["task", "random", "unigram", "model"] = setting("task", "where injected wrong tokens come from")
    draws: Count = setting(2, "independent noisings of each example, used in turn by successive epochs")


class Model(Section):
    source: str = setting("scratch", "'scratch', or the hub name or local path of any causal LM")
    revision: str = setting("main", "branch, tag or commit of a hub model")
    trust_remote_code: bool = setting(False, "run the Python code that comes with the model: read it first")
    layers: Annotated[int, Field(ge=1, le=2**10)] = setting(2, "transformer layers (scratch)")
    width: Annotated[int, Field(ge=1, le=2**17)] = setting(64, "hidden size (scratch)")
    heads: Annotated[int, Field(ge=1, le=2**10)] = setting(4, "attention heads (scratch)")
    context: Annotated[int, Field(ge=1, le=2**24)] = setting(128, "longest position (scratch)")
    initial_spread: float = setting(0.02, "standard deviation of the initial weights (scratch)", gt=0, le=100)
    rope_theta: float = setting(10_000.0, "base of the rotary position frequencies (scratch)", gt=0, le=1e12)
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "precision of the network's products (and of pretrained weights); the objective is float32"
    )
    quantise: Literal["none", "nf4"] = setting("none", "4-bit weights under the adapter (bitsandbytes)")
    lora_rank: Annotated[int, Field(ge=0, le=2**14)] = setting(0, "rank of LoRA adapters; 0 trains all weights")
    lora_alpha: Annotated[int, Field(ge=1, le=2**20)] = setting(16, "scale of LoRA adapters")
    gradient_checkpointing: bool = setting(False, "recompute activations in the backward pass")
    static_decoding: bool = setting(
        False, "sample with forward passes of few fixed shapes, which a GPU launches whole (CUDA graphs)"
    )

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
    share_prompts: bool = setting(
        False,
        "data of the rollouts' own prompts, each prompt encoded once; else data and rollouts are drawn separately",
    )
    temperature: float = setting(1.0, "sampling temperature; 0 is greedy", ge=0)
    top_p: float = setting(1.0, "nucleus mass; 1 is off", gt=0, le=1)
    top_k: Annotated[int, Field(ge=0)] = setting(0, "most likely actions kept; 0 is off")
    max_actions: Count = setting(24, "actions after which a rollout is cut off, backspaces included")
    concurrent: bool = setting(False, "draw rollouts in a process of their own while training goes on")
    staleness: Annotated[int, Field(ge=0)] = setting(
        8, "most gradient steps by which the weights behind rollouts that enter the buffer are old (concurrent)"
    )


class Evaluation(Section):
    split: Literal["validation", "test"] = setting(
        "test", "which split is sampled; tables read test, tuning validation"
    )
    batch: Count = setting(128, "sequences decoded side by side")
    max_actions: Count = setting(24, "actions after which a sequence is cut off, backspaces included")
    decodings: tuple[str, ...] = setting(
        ("sampled", "greedy", "perturbed=0.05", "perturbed=0.1"),
        "how completions are decoded: sampled, greedy, temperature=X, top_p=X, min_p=X, rejection=X, bkspc_bias=X, "
        "surprise=X, takeback=X, takeback_ratio=X, bkspc_masked, perturbed=X (the rate at which emitted tokens are "
        "replaced by wrong ones; also perturbed_task, perturbed_random, perturbed_model), best_of=X, majority=X; "
        "several joined by '+'",
        min_length=1,
    )
    corruptions: tuple[Literal["task", "random", "unigram", "model"], ...] = setting(
        ("random", "model"), "kinds of noise whose repair is measured"
    )
    shown: Annotated[int, Field(ge=0)] = setting(
        5, "first examples shown in full, the last token of their prompt replaced by a random one (text)"
    )
    judge: str = setting(
        "", "hub name or path of the causal LM that judges text; empty: the MLE model of the next seed (text)"
    )

    @field_validator("decodings")
    @classmethod
    def _are_decodings(cls, names):
        for name in names:
            decoding_options(name)
        return names

    @field_validator("decodings", "corruptions")
    @classmethod
    def _distinct(cls, values):
        if len(set(values)) < len(values):
            raise ValueError(f"{', '.join(values)}: each may stand there once")
        return values


# What is measured of an overhead table: the steps and generations that it shows, and parts beside what they replace.
MEASUREMENTS = ("steps", "growth", "masking", "projection", "sampling", "concurrent")


class Overhead(Section):
    """A measurement of what steps and sampling cost (docs/overheads.md)."""

    geometries: tuple[str, ...] = setting(
        ("256+768", "256+256"), "lengths of a sequence, prompt + continuation, in tokens", min_length=1
    )
    batch: Count = setting(1, "sequences per gradient step, all in one forward pass")
    generate: Count = setting(2, "sequences per generation (G)")
    seen: Count = setting(8, "times each rollout is trained on; a generation serves G * seen / batch steps")
    eta: Rate = setting(0.2, "noise level of the data")
    pops: float = setting(0.1, "share of <bkspc> among the actions of a rollout", gt=0, lt=0.5)
    vocabulary: Annotated[int, Field(ge=8)] = setting(1024, "tokens, 3 special ones included (scratch)")
    repeats: Count = setting(7, "gradient steps timed of each row, the rows in turn")
    sampling_repeats: Count = setting(3, "generations timed of each row")
    contexts: tuple[Count, ...] = setting((), "lengths over which a step's cost is followed, a quarter of them prompt")
    batches: tuple[Count, ...] = setting((), "batches over which it is followed, at the shortest of these lengths")
    masked: tuple[Count, ...] = setting((), "lengths at which the state tree is compared with Algorithm 2")

    parts: tuple[Literal["projection", "sampling", "concurrent"], ...] = setting(
        (), "parts held against what they replace: all logits at once, transformers' generate, rollouts between steps"
    )

    @field_validator("geometries")
    @classmethod
    def _are_geometries(cls, values):
        for value in values:
            parse_geometry(value)
        return values

    @field_validator("contexts", "masked")
    @classmethod
    def _have_room(cls, values):
        if any(value < 8 for value in values):
            raise ValueError(f"{min(values)} tokens are too few to tell anything: give lengths of 8 or more")
        return values

    @property
    def steps_per_sample(self) -> float:
        """Gradient steps that one generation serves: G * seen / B."""
        return self.generate * self.seen / self.batch

    @property
    def longest(self) -> int:
        """Positions that the longest sequence takes: a generation has room for tokens that are taken back."""
        pairs = [parse_geometry(geometry) for geometry in self.geometries]
        lengths = [prompt + longest_rollout(continuation, self.pops) for prompt, continuation in pairs]
        return max(*lengths, *self.contexts, *self.masked, 0)

    def check_fits(self, model: Model) -> None:
        """Raises UserError where a network made here is too short for it."""
        if model.source == "scratch" and self.longest > model.context:
            raise UserError(
                f"sequences take up to {self.longest} positions (prompt, continuation and the tokens taken back, "
                f"contexts, masked), and the model has {model.context} (context): raise it, or shorten them"
            )


def longest_rollout(continuation: int, pops: float) -> int:
    """Actions after which as many tokens as the continuation has are left, a share ``pops`` of them being pops."""
    return math.ceil(continuation / (1 - 2 * pops))


def parse_geometry(text: str) -> tuple[int, int]:
    """(256, 768) for '256+768'. Raises ValueError where it is no such pair of lengths."""
    found = re.fullmatch(r"(\d+) ?\+ ?(\d+)", text)
    if not found or min(map(int, found.groups())) < 1:
        raise ValueError(f"'{text}' is no geometry: write lengths of prompt and continuation as 256+768")
    return int(found[1]), int(found[2])
