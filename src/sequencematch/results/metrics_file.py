"""Reading ``metrics.json``: its types and bounds are checked, and that its parts do not contradict each other.

``results.metrics`` describes the content. Missing keys are left to the reader, because each reader needs others.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sequencematch.errors import UserError
from sequencematch.results.bleu import STATISTICS, corpus_bleu
from sequencematch.settings.decoding_names import decoding_options
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.losses import LOSSES
from sequencematch.store.files import read_json, read_record, record_of
from sequencematch.store.provenance import identity, made_from

Share = Annotated[float, Field(ge=0, le=1 + 1e-6)]
Percent = Annotated[float, Field(ge=0, le=100 + 1e-6)]
AtLeast0 = Annotated[float, Field(ge=0)]
Counts = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=STATISTICS, max_length=STATISTICS)]
NOISED = re.compile(r"(?P<task>[^/]+)/noised/eta=(?P<eta>[^/]+)/seed=")  # the path of a run's training data


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Texts(_Part):
    perplexity: AtLeast0 | None = None
    entropy: dict[str, AtLeast0] = {}
    repetition: Share = 0
    distinct: Share = 0


class _Decoding(_Texts):
    n: int = Field(default=1, ge=1)
    answers: int = Field(default=1, ge=1, le=9)
    pushes_per_sequence: AtLeast0 = 0
    pops_per_sequence: AtLeast0 = 0
    deletions_per_sequence: AtLeast0 | None = None
    wrong_pop_share: Share | None = None
    cut_off_share: Share = 0
    accuracy: Share | None = None
    correct: str | None = Field(default=None, pattern="^[0-9]*$")
    bleu: Percent | None = None
    chrf: Percent | None = None
    statistics: list[Counts] = []
    mauve: Share | None = None

    @model_validator(mode="after")
    def _agrees(self):
        for name, answers in (("correct", self.correct), ("statistics", self.statistics)):
            if answers and len(answers) != self.n:
                raise ValueError(f"'{name}' is about {len(answers)} questions, but n is {self.n}")
        if self.correct is not None and self.accuracy is not None:
            _equal("accuracy", self.accuracy, sum(map(int, self.correct)) / (self.n * self.answers), "'correct'")
        if self.accuracy is not None and self.accuracy + self.cut_off_share > 1 + 1e-6:
            raise ValueError("'accuracy' and 'cut_off_share' exceed 1 together, but a cut-off sequence counts as wrong")
        if self.wrong_pop_share is not None and not self.pops_per_sequence:
            raise ValueError("'wrong_pop_share' is given, but there are no deletions")
        if self.statistics and self.bleu is not None:
            _equal("bleu", self.bleu, float(corpus_bleu(np.sum(self.statistics, axis=0))), "'statistics'")
        return self


class _Numbers(_Part):
    corrupted: dict[str, Share] = {}
    clean: dict[str, Share] = {}


class _Repair(_Part):
    repair_rate: Share
    false_alarm_rate: Share
    per_example: _Numbers = _Numbers()

    @model_validator(mode="after")
    def _agrees(self):
        numbers = self.per_example
        sides = (("repair_rate", numbers.corrupted), ("false_alarm_rate", numbers.clean))
        for name, values in sides:
            if values:
                _equal(name, getattr(self, name), sum(values.values()) / len(values), "'per_example'")
        return self


class _HeldOut(_Part):
    nll: AtLeast0
    per_example: list[AtLeast0 | None] = []


class _Metrics(_Part):
    scale: str = ""
    task: str = ""
    method: str = ""
    family: Literal[*FAMILIES] = "arithmetic"  # type: ignore[valid-type]
    eta: float = Field(default=0, ge=0, lt=1)
    seed: int = 0
    decodings: dict[str, _Decoding] = {}
    repair: dict[str, _Repair] | None = None
    budget: dict[str, int | str] = {}
    commit: str = ""
    settings: dict = {}
    held_out: _HeldOut | None = None
    held_out_given_no_deletion: _HeldOut | None = None
    reference: _Texts | None = None
    judge: dict[str, str] = {}

    @model_validator(mode="after")
    def _agrees(self):
        for name in self.decodings:
            decoding_options(name)
        counts = {decoding.n for decoding in self.decodings.values()}
        if len(counts) > 1:
            raise ValueError(f"the decodings are of different numbers of questions ({sorted(counts)})")
        if self.held_out and self.held_out.per_example and counts and len(self.held_out.per_example) not in counts:
            raise ValueError("'held_out' is about another number of questions than the decodings")
        return self


def right_shares(decoded: dict) -> list[float]:
    """The share of the answers to each question that are right, of a decoding of metrics.json."""
    return [int(right) / decoded.get("answers", 1) for right in decoded["correct"]]


def read_metrics(path: Path) -> dict:
    """The content of a metrics.json. Raises UserError if it is not one, or contradicts itself."""
    metrics = read_json(path, "score the run again")
    try:
        _Metrics.model_validate(metrics)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "it"
        message = problem["msg"].removeprefix("Value error, ")
        raise UserError(f"'{path}' holds no sound metrics ({place}: {message}): score the run again") from None
    return metrics


def recorded_split(samples: Path) -> str:
    """The split that was sampled, as the record of the samples says; '' where there is none or it does not say so."""
    if not record_of(samples).exists():
        return ""
    options = read_record(samples).get("options")
    return str(options.get("evaluation.split", "")) if isinstance(options, dict) else ""


def check_metrics_of(metrics: dict, path: Path, model: Path, trained: dict) -> None:
    """Raises UserError if ``metrics``, read from ``path``, are of another model than the one in the folder ``model``.

    trained: the content of the folder's provenance.json. Facts that one side lacks are not compared.
    """
    scored, present = made_from(path, "model"), identity(model)
    differing = ["weights"] if None not in (scored, present) and scored != present else []
    noised = NOISED.search(str(trained.get("noised", "")))
    loss = _at(trained, "stage", "loss")
    backspace = LOSSES[loss].backspace if loss in LOSSES else None
    pairs = {
        "seed": (metrics.get("seed"), trained.get("seed")),
        "settings": (metrics.get("settings"), trained.get("settings")),
        "steps": (_at(metrics, "budget", "steps"), trained.get("steps")),
        "base_steps": (_at(metrics, "budget", "base_steps"), trained.get("base_steps")),
        "task": (metrics.get("task"), noised and noised["task"]),
        "eta": (_number(metrics.get("eta")), _number(noised and noised["eta"])),
        "<bkspc>": (metrics["repair"] is not None if "repair" in metrics else None, backspace),
    }
    differing += [name for name, (ours, theirs) in pairs.items() if None not in (ours, theirs) and ours != theirs]
    if differing:
        raise UserError(
            f"the metrics in '{path}' are of another model than '{model}' (they differ in {', '.join(differing)}): "
            "give the metrics.json of this model"
        )


def _at(facts: dict, *keys: str) -> Any:
    found: Any = facts
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _number(value) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _equal(name: str, stated: float, expected: float, source: str) -> None:
    if not math.isclose(stated, expected, rel_tol=1e-6, abs_tol=1e-6):
        raise ValueError(f"'{name}' is {stated:g}, but {source} says {expected:g}")
