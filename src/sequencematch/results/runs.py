"""The scored runs of a scale: their files, and the metrics.json of those of one table, checked to be comparable.

``results.metrics`` describes the content of metrics.json. ``read_metrics`` checks its form; missing keys are left to
the reader, because each reader needs others.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sequencematch.errors import UserError
from sequencematch.results.estimates import Variant, bracketed, grouped
from sequencematch.settings.decoding_names import concerns_backspace, decoding_options, without_rule
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.losses import LOSSES
from sequencematch.store.files import read_json, read_json_lines, read_record, record_of
from sequencematch.store.provenance import identity, made_from

NOISED = re.compile(r"(?P<task>[^/]+)/noised/eta=(?P<eta>[^/]+)/seed=")  # the path of a run's training data


def _decoding(name: str) -> str:
    decoding_options(name)
    return name


class _Rates(BaseModel):
    repair_rate: float
    false_alarm_rate: float


class _Metrics(BaseModel):
    """The form of a metrics.json. Its numbers are those that score wrote: its record has the digest."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    scale: str = ""
    task: str = ""
    method: str = ""
    family: Literal[*FAMILIES] = "arithmetic"  # type: ignore[valid-type]
    eta: float = Field(default=0, ge=0, lt=1)
    seed: int = 0
    decodings: dict[Annotated[str, AfterValidator(_decoding)], dict[str, Any]] = {}
    repair: dict[str, _Rates] | None = None
    budget: dict[str, int | str] = {}
    commit: str = ""
    settings: dict = {}
    reference: dict = {}
    judge: dict[str, str] = {}


def right_shares(decoded: dict) -> list[float]:
    """The share of the answers to each question that are right, of a decoding of metrics.json."""
    return [int(right) / decoded.get("answers", 1) for right in decoded["correct"]]


def read_metrics(path: Path) -> dict:
    """The content of a metrics.json. Raises UserError if it is not one."""
    metrics = read_json(path, "score the run again")
    try:
        _Metrics.model_validate(metrics)
    except ValidationError as error:
        problem = error.errors()[0]
        place, message = ".".join(map(str, problem["loc"])) or "it", problem["msg"].removeprefix("Value error, ")
        raise UserError(f"'{path}' holds no sound metrics ({place}: {message}): score the run again") from None
    return metrics


def recorded_split(samples: Path) -> str:
    """The split that was sampled, as the record of the samples says; '' where there is none or it does not say so."""
    record = read_record(samples) if record_of(samples).exists() else {}
    return record.get("options", {}).get("evaluation.split", "")


def check_metrics_of(metrics: dict, path: Path, model: Path, trained: dict) -> None:
    """Raises UserError if ``metrics``, read from ``path``, are of another model than the one in the folder ``model``.

    trained: the content of the folder's provenance.json. Facts that one side lacks are not compared.
    """
    scored, present = made_from(path, "model"), identity(model)
    differing = ["weights"] if None not in (scored, present) and scored != present else []
    noised = NOISED.search(trained.get("noised") or "")
    loss, budget = (trained.get("stage") or {}).get("loss"), metrics.get("budget", {})
    pairs = {
        **{name: (metrics.get(name), trained.get(name)) for name in ("seed", "settings")},
        **{name: (budget.get(name), trained.get(name)) for name in ("steps", "base_steps")},
        "task": (metrics.get("task"), noised and noised["task"]),
        "eta": (f"{metrics['eta']:g}" if "eta" in metrics else None, noised and noised["eta"]),
        "<bkspc>": (
            metrics["repair"] is not None if "repair" in metrics else None,
            LOSSES[loss].backspace if loss in LOSSES else None,
        ),
    }
    differing += [name for name, (ours, theirs) in pairs.items() if None not in (ours, theirs) and ours != theirs]
    if differing:
        raise UserError(
            f"the metrics in '{path}' are of another model than '{model}' (they differ in {', '.join(differing)}): "
            "give the metrics.json of this model"
        )


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


def evaluated_split(run: Run) -> str:
    """The split that a run completed, from the record of its samples."""
    if not (split := recorded_split(run.samples)):
        raise UserError(f"the record of '{run.samples}' names no split: sample again")
    return split


def read_records(run: Run, decoding: str) -> Iterator[dict]:
    """The records of a run's samples in one decoding, in the order of the examples."""
    for _, record in read_json_lines(run.samples, "sample again"):
        if record["decoding"] == decoding:
            yield record


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
        """All decodings, in the order of the settings. Methods without <bkspc> may lack those that concern it."""
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
    runs = read_runs(paths)
    for (variant, seed), same in grouped(runs, lambda run: (run.variant, run.seed)).items():
        if len(same) > 1:
            files = " and ".join(f"'{run.metrics_file}'" for run in same)
            raise UserError(f"{files} are the same run ({variant.name}, seed {seed}): give it once")
    first: dict[str, Run] = {}
    for run in runs:
        for name, said in _facts(run).items():
            if (of_first := _facts(other := first.setdefault(name, run))[name]) != said:
                raise UserError(
                    f"'{other.metrics_file}' and '{run.metrics_file}' differ in {name} ({of_first} against {said}): "
                    "only runs of equal task, budget, data and evaluation are compared; run the outdated one again"
                )
    seeds, variants = sorted({run.seed for run in runs}), grouped(runs, lambda run: run.variant)
    for variant, own in variants.items():
        if missing := sorted(set(seeds) - {run.seed for run in own}):
            raise UserError(
                f"{variant.name} lacks seed {', '.join(map(str, missing))}, which other methods have: "
                "add its metrics.json, or leave that seed out everywhere"
            )
    by_seed = {variant: [run.metrics for run in own] for variant, own in variants.items()}
    first_files = {variant: own[0].metrics_file for variant, own in variants.items()}
    return Comparison(seeds, by_seed, recorded_split(runs[0].samples), first_files)


def _facts(run: Run) -> dict[str, str]:
    """What must be equal in all runs that have it: they differ only in method, eta and seed.

    Facts that concern <bkspc> are those of the runs that have it, and a judge is that of the runs of one seed.
    """
    metrics, judge = run.metrics, run.metrics.get("judge", {})
    kind = "without <bkspc>" if metrics["repair"] is None else "with <bkspc>"
    # A rule may stand in the place of <bkspc>, so decodings with one are free.
    decodings = sorted(name for name in metrics["decodings"] if without_rule(name) == name)
    facts = {name: metrics[name] for name in ("scale", "task", "family")}
    facts |= {label: str(metrics["budget"].get(name, "not stated")) for name, label in BUDGET_NAMES.items()}
    facts["decodings"] = ", ".join(name for name in decodings if not concerns_backspace(name))
    facts[f"the decodings of models {kind}"] = ", ".join(decodings)
    if metrics["repair"]:  # empty where deletions are kept
        facts["corruptions"] = ", ".join(sorted(metrics["repair"]))
    facts[f"the judge of seed {run.seed}"] = str(judge.get("model"))
    facts[f"the weights of the judge of seed {run.seed}"] = str(judge.get("files"))
    return facts
