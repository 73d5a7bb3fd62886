"""The scored runs of a scale: their metrics.json, and those of one table, checked to be comparable, as arrays.

``read_metrics`` checks the types and bounds of the file, and that its parts do not contradict each other;
``results.metrics`` describes the content. Missing keys are left to the reader, because each reader needs others.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sequencematch.errors import UserError
from sequencematch.results.bleu import STATISTICS, corpus_bleu
from sequencematch.results.estimates import Variant, bracketed
from sequencematch.settings.decoding_names import concerns_backspace, decoding_options, without_rule
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.losses import LOSSES
from sequencematch.store.files import read_csv, read_json, read_json_lines, read_record, record_of
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
        "eta": (_float(metrics.get("eta")), _float(noised and noised["eta"])),
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


def _float(value) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _equal(name: str, stated: float, expected: float, source: str) -> None:
    if not math.isclose(stated, expected, rel_tol=1e-6, abs_tol=1e-6):
        raise ValueError(f"'{name}' is {stated:g}, but {source} says {expected:g}")


@dataclass(frozen=True)
class Run:
    """A scored run: its names, and the file of its scores with the content."""

    task: str
    variant: Variant
    seed: int
    metrics_file: Path
    metrics: dict

    @property
    def family(self) -> str:
        """Of its task: arithmetic, translation or text."""
        return self.metrics["family"]

    @property
    def model(self) -> Path:
        """The run's model folder."""
        return self.metrics_file.with_name("model")

    @property
    def samples(self) -> Path:
        """The file of the run's samples."""
        return self.metrics_file.with_name("samples.jsonl")


WANTED = ("scale", "task", "family", "method", "eta", "seed", "decodings", "repair", "budget", "commit")


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """The runs behind metrics.json files: tasks in the order given, their variants as tables order them."""
    runs = []
    for path in paths:
        metrics = read_metrics(path)
        if missing := [name for name in WANTED if name not in metrics]:
            raise UserError(f"'{path}' lacks {', '.join(missing)}: it was not written by score; score the run again")
        variant = Variant(metrics["method"], metrics["eta"])
        runs.append(Run(metrics["task"], variant, metrics["seed"], path, metrics))
    tasks = list(dict.fromkeys(run.task for run in runs))
    return sorted(runs, key=lambda run: (tasks.index(run.task), run.variant.place, run.seed))


def read_training(model: Path) -> list[dict[str, str]]:
    """The lines of a model folder's metrics.csv."""
    return read_csv(model / "metrics.csv", "train the model again")


def evaluated_split(run: Run) -> str:
    """The split that a run completed, from the record of its samples."""
    if not (split := recorded_split(run.samples)):
        raise UserError(f"the record of '{run.samples}' names no split: sample again")
    return split


def read_records(run: Run, decoding: str) -> Iterator[dict]:
    """The records of a run's samples in one decoding, in the order of the examples.

    Raises UserError if there are none.
    """
    for place, record in read_json_lines(run.samples, "sample again"):
        if "decoding" not in record:
            raise UserError(f"{place} is no sample: delete the file and sample again")
        if record["decoding"] == decoding:
            yield record


# ---- the runs that a table compares -----------------------------------------------------------------

BUDGET_NAMES = {
    "base_steps": "steps of the base model",
    "steps": "gradient steps in all",
    "batch": "batch size",
    "model_digest": "model settings",
    "data_digest": "data",
    "questions_digest": "questions",
}


@dataclass(frozen=True)
class Comparison:
    """Runs of one task and scale that differ only in method, eta and seed. Every variant has every seed.

    runs: the metrics of each variant, one per seed, in the order of ``seeds``. split: the one whose questions they
    answered; '' where no record says so. first_files: the metrics.json of each variant in the first seed.
    """

    seeds: list[int]
    runs: dict[Variant, list[dict]]
    split: str = ""
    first_files: dict[Variant, Path] = field(default_factory=dict)

    @cached_property
    def variants(self) -> list[Variant]:
        """The variants compared, in the order of a table's rows."""
        return sorted(self.runs, key=lambda variant: variant.place)

    @property
    def first(self) -> dict:
        """The metrics of one run, for facts that all runs share."""
        return self.runs[self.variants[0]][0]

    @cached_property
    def decodings(self) -> list[str]:
        """All decodings, in the order of the evaluation settings.

        Methods without <bkspc> may lack those that concern it.
        """
        named = (self.runs[variant][0]["decodings"] for variant in reversed(self.variants))
        return list(dict.fromkeys(name for names in named for name in names))

    @property
    def family(self) -> str:
        """arithmetic, translation or text."""
        return self.first["family"]

    @property
    def questions(self) -> int:
        """Questions that every run answered."""
        return self.first["decodings"][self.decodings[0]]["n"]

    @property
    def commits(self) -> list[str]:
        """Commits of the code that scored the runs."""
        return sorted({metrics["commit"] for runs in self.runs.values() for metrics in runs})

    @cached_property
    def corruptions(self) -> list[str]:
        """The kinds of wrong tokens whose repair was measured."""
        return list(dict.fromkeys(kind for runs in self.runs.values() for kind in runs[0]["repair"] or ()))

    def has(self, variant: Variant, decoding: str) -> bool:
        """Whether the runs of a variant were sampled with a decoding."""
        return decoding in self.runs[variant][0]["decodings"]

    def statistic(self, variant: Variant, decoding: str, name: str) -> np.ndarray:
        """A number per seed, float [S or fewer]. Seeds without it are left out."""
        found = [_measured(metrics["decodings"][decoding], name) for metrics in self.runs[variant]]
        return np.array([value for value in found if value is not None], dtype=float)

    def reference(self, name: str) -> np.ndarray:
        """A number of the real continuations per seed, float [S]. All runs of a seed have the same, from one judge."""
        return np.array([_measured(metrics["reference"], name) for metrics in self.runs[self.variants[0]]])

    def probabilities(self, variant: Variant, kind: str, side: str) -> np.ndarray | None:
        """P(<bkspc>) after ``corrupted`` or ``clean`` tokens, float [S, questions measured in every seed].

        kind: of corruption. None for a policy without <bkspc>, or where it was not measured.
        """
        if any(kind not in (metrics["repair"] or {}) for metrics in self.runs[variant]):
            return None
        measured = [metrics["repair"][kind]["per_example"][side] for metrics in self.runs[variant]]
        shared = sorted(set.intersection(*map(set, measured)), key=int)
        return np.array([[by_example[i] for i in shared] for by_example in measured]) if shared else None


def _measured(numbers: dict, name: str) -> float | None:
    """``perplexity``, or an entry of a group: ``entropy[2]``; None where it was not measured."""
    found = numbers.get(name.partition("[")[0])
    return found.get(bracketed(name)) if found and bracketed(name) else found


def read_comparison(paths: Sequence[Path]) -> Comparison:
    """Read metrics.json files of one task. Raises UserError with two of the files if they cannot be compared."""
    if not paths:
        raise UserError("no metrics files given: name the metrics.json of every run to compare")
    found: dict[Variant, dict[int, Run]] = {}
    for run in (runs := read_runs(paths)):
        of_variant = found.setdefault(run.variant, {})
        if same := of_variant.get(run.seed):
            files = f"'{same.metrics_file}' and '{run.metrics_file}'"
            raise UserError(f"{files} are the same run ({_named(run.variant)}, seed {run.seed}): give it once")
        of_variant[run.seed] = run
    _check_comparable(runs)
    seeds = sorted({run.seed for run in runs})
    for variant, of_variant in found.items():
        if missing := [str(seed) for seed in seeds if seed not in of_variant]:
            raise UserError(
                f"{_named(variant)} lacks seed {', '.join(missing)}, which other methods have: "
                "add its metrics.json, or leave that seed out everywhere"
            )
    by_seed = {variant: [of_variant[seed].metrics for seed in seeds] for variant, of_variant in found.items()}
    first_files = {variant: of_variant[seeds[0]].metrics_file for variant, of_variant in found.items()}
    return Comparison(seeds, by_seed, recorded_split(runs[0].samples), first_files)


def _check_comparable(runs: Sequence[Run]) -> None:
    """Check that the runs differ only in method, eta and seed.

    Facts that concern <bkspc> must agree between the runs that have it.
    """
    peers: dict[bool, Run] = {}  # the first run with <bkspc>, and the first without
    judged: dict[int, Run] = {}  # the first run of each seed
    for run in runs:
        _check_same_task(runs[0], run)
        _check_same_evaluation(runs[0], run)
        _check_same_evaluation(peers.setdefault(run.metrics["repair"] is not None, run), run)
        _check_same_judge(judged.setdefault(run.seed, run), run)


def _check_same_task(first: Run, other: Run) -> None:
    ours, theirs = first.metrics, other.metrics
    for name in ("scale", "task", "family"):
        if ours[name] != theirs[name]:
            raise UserError(
                f"'{first.metrics_file}' is of {name} '{ours[name]}' and '{other.metrics_file}' of {name} "
                f"'{theirs[name]}': a table compares runs of one {name}"
            )
    for name in sorted(ours["budget"].keys() | theirs["budget"].keys()):
        a, b = (run["budget"].get(name, "not stated") for run in (ours, theirs))
        if a != b:
            raise UserError(
                f"'{first.metrics_file}' and '{other.metrics_file}' differ in {BUDGET_NAMES.get(name, name)} "
                f"({a} against {b}): only runs of equal budget, data and configuration are compared; "
                "run the outdated one again"
            )


def _check_same_evaluation(first: Run, other: Run) -> None:
    """Check that decodings and kinds of corruption agree.

    Those that concern <bkspc> are compared only if both runs have it.
    """
    both = (first.metrics, other.metrics)
    peers = (both[0]["repair"] is None) == (both[1]["repair"] is None)
    decodings = [[name for name in run["decodings"] if _is_shared(name, peers)] for run in both]
    measured = all(run["repair"] for run in both)  # empty where deletions are kept
    corruptions = [list(run["repair"]) if measured else [] for run in both]
    for what, (a, b) in (("decodings", decodings), ("corruptions", corruptions)):
        if set(a) != set(b):
            raise UserError(
                f"'{first.metrics_file}' has the {what} {', '.join(a)} and '{other.metrics_file}' {', '.join(b)}: "
                "sample both with the same evaluation settings"
            )


def _is_shared(decoding: str, peers: bool) -> bool:
    """Whether two runs must both have a decoding. This is not so where a rule replaces ``<bkspc>``.

    peers: whether both runs have ``<bkspc>``, or neither.
    """
    return without_rule(decoding) == decoding and (peers or not concerns_backspace(decoding))


def _check_same_judge(first: Run, other: Run) -> None:
    a, b = (run.metrics.get("judge", {}) for run in (first, other))
    models = [judge.get("model") for judge in (a, b)]
    if models[0] != models[1]:
        said = f"'{first.metrics_file}' was judged by {models[0]} and '{other.metrics_file}' by {models[1]}"
    elif a.get("files") != b.get("files"):
        said = f"'{first.metrics_file}' and '{other.metrics_file}' were judged by {models[0]} with different weights"
    else:
        return
    raise UserError(f"{said}: methods of one seed need one judge; judge the outdated one again")


def _named(variant: Variant) -> str:
    return f"method '{variant.method}' at eta {variant.eta:g}"
