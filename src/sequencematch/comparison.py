"""The runs that one table compares: read, checked to be comparable, and turned into arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sequencematch.errors import UserError
from sequencematch.scoring import read_json

METHOD_ORDER = ("mle", "uls", "bc", "sm")
BUDGET_NAMES = {
    "base_steps": "steps of the base model",
    "steps": "gradient steps in all",
    "batch": "batch size",
    "model_digest": "model settings",
    "data_digest": "data",
    "questions_digest": "test questions",
}


@dataclass(frozen=True)
class Variant:
    """A row of a table: a named method at a noise level (0 for methods without noise)."""

    method: str
    eta: float

    @property
    def family(self) -> str:
        """The method a variant belongs to: sm for sm_js."""
        return self.method.split("_")[0]

    @property
    def label(self) -> str:
        """MLE, SM, SM (js)."""
        suffix = self.method.removeprefix(self.family).strip("_").replace("_", " ")
        return self.family.upper() + (f" ({suffix})" if suffix else "")

    @property
    def place(self) -> tuple:
        """Sorts rows as the paper does: MLE, ULS, BC, SM; variants after their method; eta ascending."""
        known = self.family in METHOD_ORDER
        return METHOD_ORDER.index(self.family) if known else len(METHOD_ORDER), self.method, self.eta


@dataclass(frozen=True)
class Comparison:
    """Runs of one task and scale that differ in method, eta and seed alone; every variant has every seed.

    runs: the metrics of each variant, one per seed, in the order of ``seeds``.
    """

    seeds: list[int]
    runs: dict[Variant, list[dict]]

    @cached_property
    def variants(self) -> list[Variant]:
        return sorted(self.runs, key=lambda variant: variant.place)

    @property
    def first(self) -> dict:
        """Any run's metrics: for what all runs share."""
        return self.runs[self.variants[0]][0]

    @cached_property
    def decodings(self) -> list[str]:
        """sampled, greedy, then perturbed by rate."""
        return sorted(self.first["decodings"], key=lambda name: (name != "sampled", name != "greedy", rate(name)))

    @property
    def questions(self) -> int:
        return self.first["decodings"][self.decodings[0]]["n"]

    @property
    def commits(self) -> list[str]:
        return sorted({metrics["commit"] for runs in self.runs.values() for metrics in runs})

    def correct(self, variant: Variant, decoding: str) -> np.ndarray:
        """1 where a seed answered a question correctly, else 0; float [S, N]."""
        rows = [list(metrics["decodings"][decoding]["correct"]) for metrics in self.runs[variant]]
        return np.array(rows, dtype=float)

    def statistic(self, variant: Variant, decoding: str, name: str) -> np.ndarray:
        """A number per seed, float [S or fewer]: seeds where it does not exist (null) are left out."""
        found = [metrics["decodings"][decoding][name] for metrics in self.runs[variant]]
        return np.array([value for value in found if value is not None], dtype=float)

    def probabilities(self, variant: Variant, side: str) -> np.ndarray | None:
        """P(<bkspc>) after ``corrupted`` or ``clean`` tokens, float [S, questions measured in every seed].

        None for a policy without <bkspc>.
        """
        if any(metrics["repair"] is None for metrics in self.runs[variant]):
            return None
        measured = [metrics["repair"]["per_example"][side] for metrics in self.runs[variant]]
        shared = sorted(set.intersection(*map(set, measured)), key=int)
        return np.array([[by_example[i] for i in shared] for by_example in measured]) if shared else None


def rate(decoding: str) -> float:
    """The perturbation rate of a decoding; 0 for sampled and greedy."""
    return float(decoding.partition("=")[2] or 0)


def read_comparison(paths: Sequence[Path]) -> Comparison:
    """Read metrics.json files. Raises UserError where they cannot be compared, naming the two files."""
    if not paths:
        raise UserError("no metrics files given: name the metrics.json of every run to compare")
    found: dict[Variant, dict[int, dict]] = {}
    origin: dict[tuple[Variant, int], Path] = {}
    first = _read_metrics(paths[0])
    for path in paths:
        metrics = _read_metrics(path)
        _check_alike(first, paths[0], metrics, path)
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
    return Comparison(seeds, {variant: [runs[seed] for seed in seeds] for variant, runs in found.items()})


def _read_metrics(path: Path) -> dict:
    metrics = read_json(path, "score the run again")
    wanted = ("scale", "task", "method", "eta", "seed", "decodings", "repair", "budget", "commit")
    if missing := [name for name in wanted if name not in metrics]:
        raise UserError(f"'{path}' lacks {', '.join(missing)}: it was not written by score; score the run again")
    return metrics


def _check_alike(first: dict, first_path: Path, other: dict, other_path: Path) -> None:
    """Everything but method, eta and seed must agree."""
    for name in ("scale", "task"):
        if first[name] != other[name]:
            raise UserError(
                f"'{first_path}' is of {name} '{first[name]}' and '{other_path}' of {name} '{other[name]}': "
                f"a table compares runs of one {name}"
            )
    for name in sorted(first["budget"].keys() | other["budget"].keys()):
        ours, theirs = (budget.get(name, "not stated") for budget in (first["budget"], other["budget"]))
        if ours != theirs:
            raise UserError(
                f"'{first_path}' and '{other_path}' differ in {BUDGET_NAMES.get(name, name)} "
                f"({ours} against {theirs}): only runs of equal budget, data and configuration are compared; "
                "run the outdated one again"
            )
    if first["decodings"].keys() != other["decodings"].keys():
        raise UserError(
            f"'{first_path}' has the decodings {', '.join(first['decodings'])} and '{other_path}' "
            f"{', '.join(other['decodings'])}: sample both with the same evaluation settings"
        )


def _named(variant: Variant) -> str:
    return f"method '{variant.method}' at eta {variant.eta:g}"
