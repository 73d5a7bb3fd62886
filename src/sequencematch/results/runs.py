"""The scored runs of a scale: what their folders say, and those of one table, checked to be comparable, as arrays."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from sequencematch.errors import UserError
from sequencematch.results.metrics_file import read_metrics, recorded_split
from sequencematch.results.quantities import key
from sequencematch.results.variants import Variant
from sequencematch.settings.decoding_names import concerns_backspace, without_rule
from sequencematch.store.files import read_csv, read_json_lines


@dataclass(frozen=True)
class Run:
    """A scored run: its names, its folder, and the content of its metrics.json."""

    task: str
    variant: Variant
    seed: int
    folder: Path
    metrics: dict

    @property
    def family(self) -> str:
        """Of its task: arithmetic, translation or text."""
        return self.metrics["family"]

    @property
    def model(self) -> Path:
        """The run's model folder."""
        return self.folder / "model"

    @property
    def metrics_file(self) -> Path:
        """The file of the run's scores."""
        return self.folder / "metrics.json"

    @property
    def samples(self) -> Path:
        """The file of the run's samples."""
        return self.folder / "samples.jsonl"


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """The runs behind metrics.json files: tasks in the order given, their variants as tables order them."""
    runs = []
    for path in paths:
        metrics = read_metrics(path)
        try:
            variant = Variant(metrics["method"], metrics["eta"])
            runs.append(Run(metrics["task"], variant, metrics["seed"], path.parent, metrics))
        except KeyError as error:
            raise UserError(f"'{path}' lacks {error}: score the run again") from error
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
        found = [_number(metrics["decodings"][decoding], name) for metrics in self.runs[variant]]
        return np.array([value for value in found if value is not None], dtype=float)

    def reference(self, name: str) -> np.ndarray:
        """A number of the real continuations per seed, float [S]. All runs of a seed have the same, from one judge."""
        return np.array([_number(metrics["reference"], name) for metrics in self.runs[self.variants[0]]])

    def probabilities(self, variant: Variant, kind: str, side: str) -> np.ndarray | None:
        """P(<bkspc>) after ``corrupted`` or ``clean`` tokens, float [S, questions measured in every seed].

        kind: of corruption. None for a policy without <bkspc>, or where it was not measured.
        """
        if any(kind not in (metrics["repair"] or {}) for metrics in self.runs[variant]):
            return None
        measured = [metrics["repair"][kind]["per_example"][side] for metrics in self.runs[variant]]
        shared = sorted(set.intersection(*map(set, measured)), key=int)
        return np.array([[by_example[i] for i in shared] for by_example in measured]) if shared else None


def _number(numbers: dict, name: str) -> float | None:
    """``perplexity``, or an entry of a group: ``entropy[2]``; None where it was not measured."""
    found = numbers.get(name.partition("[")[0])
    return found.get(key(name)) if found and key(name) else found


def read_comparison(paths: Sequence[Path]) -> Comparison:
    """Read metrics.json files of one task. Raises UserError with two of the files if they cannot be compared."""
    if not paths:
        raise UserError("no metrics files given: name the metrics.json of every run to compare")
    read = [(path, _read_metrics(path)) for path in paths]
    _check_comparable(read)
    found: dict[Variant, dict[int, dict]] = {}
    origin: dict[tuple[Variant, int], Path] = {}
    for path, metrics in read:
        variant, seed = Variant(metrics["method"], metrics["eta"]), metrics["seed"]
        if (variant, seed) in origin:
            raise UserError(
                f"'{origin[variant, seed]}' and '{path}' are the same run ({_named(variant)}, seed {seed}): "
                "give it once"
            )
        origin[variant, seed] = path
        found.setdefault(variant, {})[seed] = metrics
    seeds = sorted({seed for runs in found.values() for seed in runs})
    for variant, runs in found.items():
        if missing := [str(seed) for seed in seeds if seed not in runs]:
            raise UserError(
                f"{_named(variant)} lacks seed {', '.join(missing)}, which other methods have: "
                "add its metrics.json, or leave that seed out everywhere"
            )
    by_seed = {variant: [runs[seed] for seed in seeds] for variant, runs in found.items()}
    first_files = {variant: origin[variant, seeds[0]] for variant in found}
    return Comparison(seeds, by_seed, recorded_split(paths[0].with_name("samples.jsonl")), first_files)


def _read_metrics(path: Path) -> dict:
    metrics = read_metrics(path)
    wanted = ("scale", "task", "family", "method", "eta", "seed", "decodings", "repair", "budget", "commit")
    if missing := [name for name in wanted if name not in metrics]:
        raise UserError(f"'{path}' lacks {', '.join(missing)}: it was not written by score; score the run again")
    return metrics


def _check_comparable(read: Sequence[tuple[Path, dict]]) -> None:
    """Check that the runs differ only in method, eta and seed.

    Facts that concern <bkspc> must agree between the runs that have it.
    """
    first = read[0]
    peers: dict[bool, tuple[Path, dict]] = {}  # the first run with <bkspc>, and the first without
    judged: dict[int, tuple[Path, dict]] = {}  # the first run of each seed
    for run in read:
        _check_same_task(first, run)
        _check_same_evaluation(first, run)
        _check_same_evaluation(peers.setdefault(run[1]["repair"] is not None, run), run)
        _check_same_judge(judged.setdefault(run[1]["seed"], run), run)


def _check_same_task(first: tuple[Path, dict], other: tuple[Path, dict]) -> None:
    (first_path, ours), (other_path, theirs) = first, other
    for name in ("scale", "task", "family"):
        if ours[name] != theirs[name]:
            raise UserError(
                f"'{first_path}' is of {name} '{ours[name]}' and '{other_path}' of {name} '{theirs[name]}': "
                f"a table compares runs of one {name}"
            )
    for name in sorted(ours["budget"].keys() | theirs["budget"].keys()):
        values = [run["budget"].get(name, "not stated") for run in (ours, theirs)]
        if values[0] != values[1]:
            raise UserError(
                f"'{first_path}' and '{other_path}' differ in {BUDGET_NAMES.get(name, name)} "
                f"({values[0]} against {values[1]}): only runs of equal budget, data and configuration are compared; "
                "run the outdated one again"
            )


def _check_same_evaluation(first: tuple[Path, dict], other: tuple[Path, dict]) -> None:
    """Check that decodings and kinds of corruption agree.

    Those that concern <bkspc> are compared only if both runs have it.
    """
    (first_path, ours), (other_path, theirs) = first, other
    peers = (ours["repair"] is None) == (theirs["repair"] is None)
    decodings = [[name for name in run["decodings"] if _is_shared(name, peers)] for run in (ours, theirs)]
    measured = ours["repair"] and theirs["repair"]  # empty where deletions are kept
    corruptions = [list(run["repair"]) if measured else [] for run in (ours, theirs)]
    for what, (a, b) in (("decodings", decodings), ("corruptions", corruptions)):
        if set(a) != set(b):
            raise UserError(
                f"'{first_path}' has the {what} {', '.join(a)} and '{other_path}' {', '.join(b)}: "
                "sample both with the same evaluation settings"
            )


def _is_shared(decoding: str, peers: bool) -> bool:
    """Whether two runs must both have a decoding. This is not so where a rule replaces ``<bkspc>``.

    peers: whether both runs have ``<bkspc>``, or neither.
    """
    return without_rule(decoding) == decoding and (peers or not concerns_backspace(decoding))


def _check_same_judge(first: tuple[Path, dict], other: tuple[Path, dict]) -> None:
    (first_path, ours), (other_path, theirs) = first, other
    judges = [run.get("judge", {}).get("model") for run in (ours, theirs)]
    files = [run.get("judge", {}).get("files") for run in (ours, theirs)]
    if judges[0] == judges[1] and files[0] != files[1]:
        raise UserError(
            f"'{first_path}' and '{other_path}' were judged by {judges[0]} with different weights: "
            "methods of one seed need one judge; judge the outdated one again"
        )
    if judges[0] != judges[1]:
        raise UserError(
            f"'{first_path}' was judged by {judges[0]} and '{other_path}' by {judges[1]}: "
            "methods of one seed need one judge; judge the outdated one again"
        )


def _named(variant: Variant) -> str:
    return f"method '{variant.method}' at eta {variant.eta:g}"
