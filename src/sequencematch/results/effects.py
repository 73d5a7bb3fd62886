"""The results of the map: the score of every side of every cell, and every paired difference.

Scores are points: accuracy in per cent, or BLEU. A difference is between two sides on the same seeds and questions.
Each comparison counts once, however many cells have it (the default cell is part of most axes). P-values are corrected
for the number of comparisons.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from sequencematch.errors import UserError
from sequencematch.results.bleu import corpus_bleu
from sequencematch.results.cells import csv_text
from sequencematch.results.intervals import Estimate, Resampled, corrected, resampled_mean, resampled_score
from sequencematch.results.metrics_file import read_metrics
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.map import MINUS, Reading, Side

LEVEL = 0.05
# What each side's answers cost, and how many were cut off: means over seeds.
COSTS = ("pushes_per_sequence", "pops_per_sequence", "cut_off_share")


@dataclass(frozen=True)
class Measured:
    """What a side's runs scored: points, and the means of ``COSTS``."""

    points: Resampled
    questions: int
    digest: str
    costs: dict[str, float]


@dataclass(frozen=True)
class Effect:
    """A role's score in a cell (``quantity``: the role), or a difference (``sm_minus_mle``) with its p-value.

    corrected: the p-value corrected for all comparisons of the map.
    """

    reading: Reading
    quantity: str
    found: Estimate
    questions: int
    costs: dict[str, float]
    p: float | None = None
    corrected: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the difference is significant after the correction."""
        return self.corrected is not None and self.corrected < LEVEL

    @property
    def sides(self) -> tuple[Side, ...]:
        """The side scored, or the two compared."""
        reading = self.reading
        return reading.comparisons.get(self.quantity) or (reading.sides[self.quantity],)


def reader(results: Path, seeds: Sequence[int]) -> Callable[[Side], Measured]:
    """A function that reads the metrics.json files of a side's runs below ``results``, each file once.

    It raises UserError if a run was not sampled in the side's decoding, or if its seeds answered different questions.
    """

    @cache
    def metrics(run: str) -> list[dict]:
        return [read_metrics(results / run / f"seed={seed}/metrics.json") for seed in seeds]

    @cache
    def measured(side: Side) -> Measured:
        runs = metrics(side.run)
        for seed, run in zip(seeds, runs, strict=True):
            if side.decoding not in run["decodings"]:
                raise UserError(
                    f"'{results}/{side.run}/seed={seed}' was not decoded by '{side.decoding}': sample it again"
                )
        digests = {run["budget"]["questions_digest"] for run in runs}
        if len(digests) > 1:
            raise UserError(f"the seeds of '{results}/{side.run}' answered different questions: sample them again")
        decoded = [run["decodings"][side.decoding] for run in runs]
        if FAMILIES[runs[0]["family"]].score == "bleu":
            points = resampled_score(np.array([d["statistics"] for d in decoded]), corpus_bleu)
        else:
            points = resampled_mean(100 * np.array([list(d["correct"]) for d in decoded], dtype=float))
        costs = {name: float(np.mean([d[name] for d in decoded])) for name in COSTS}
        return Measured(points, decoded[0]["n"], digests.pop(), costs)

    return measured


def finished(readings: Sequence[Reading], results: Path, seeds: Sequence[int]) -> list[Reading]:
    """The readings whose runs are all finished, with the decodings that they need."""

    @cache
    def decodings(run: str) -> set[str]:
        files = [results / run / f"seed={seed}/metrics.json" for seed in seeds]
        if not all(file.is_file() for file in files):
            return set()
        return set.intersection(*(set(read_metrics(file)["decodings"]) for file in files))

    def is_there(reading: Reading) -> bool:
        compared = [side for pair in reading.comparisons.values() for side in pair]
        return all(side.decoding in decodings(side.run) for side in (*reading.sides.values(), *compared))

    return [reading for reading in readings if is_there(reading)]


def effects(readings: Sequence[Reading], measure: Callable[[Side], Measured]) -> list[Effect]:
    """Scores and differences of every reading, the p-values of the differences corrected."""
    found = []
    for reading in readings:
        for role, side in reading.sides.items():
            m = measure(side)
            found.append(Effect(reading, role, m.points.estimate(), m.questions, m.costs))
        for quantity, sides in reading.comparisons.items():
            a, b = map(measure, sides)
            if a.digest != b.digest:
                roles = " and ".join(quantity.split(MINUS))
                raise UserError(
                    f"in the cell '{reading.at}' of the map's axis '{reading.axis}', {roles} answered different "
                    "questions: compare tasks with the same data"
                )
            difference = a.points - b.points
            costs = {name: a.costs[name] - b.costs[name] for name in COSTS}
            found.append(Effect(reading, quantity, difference.estimate(), a.questions, costs, p=difference.p_value()))
    return _corrected(found)


def _corrected(found: Sequence[Effect]) -> list[Effect]:
    p = {effect.sides: effect.p for effect in found if effect.p is not None}
    by_comparison = dict(zip(p, corrected(np.array(list(p.values()))).tolist(), strict=True))
    return [replace(e, corrected=by_comparison[e.sides]) if e.p is not None else e for e in found]


def differences(found: Sequence[Effect]) -> list[Effect]:
    """Every comparison once."""
    return list({effect.sides: effect for effect in reversed(found) if effect.p is not None}.values())[::-1]


def significant_under(found: Sequence[Effect]) -> dict[str, int]:
    """How many comparisons are significant, each counted once, by each way to correct for their number."""
    p = np.array([effect.p for effect in differences(found)])
    adjusted = {
        "Benjamini-Hochberg": corrected(p),
        "Benjamini-Yekutieli": corrected(p, "by"),
        "Bonferroni": p * len(p),
    }
    return {name: int((values < LEVEL).sum()) for name, values in adjusted.items()}


def map_csv(found: Sequence[Effect], seeds: int) -> str:
    """A line per effect: where, what (a side, or two), mean, spread and interval in points, p-values, costs."""
    return csv_text(_row(effect, seeds) for effect in found)


def _row(effect: Effect, seeds: int) -> dict:
    names = ("task", "method", "eta", "decoding")
    written = {name: " | ".join(f"{getattr(side, name)}" for side in effect.sides) for name in names}
    numbers = {name: getattr(effect.found, name) for name in ("mean", "sd", "low", "high")}
    numbers |= {"p": effect.p, "p_corrected": effect.corrected} | effect.costs
    return {
        "axis": effect.reading.axis,
        "at": effect.reading.at,
        "reading": effect.reading.name,
        "column": effect.reading.column,
        "quantity": effect.quantity,
        **written,
        **{name: "" if value is None else float(f"{value:.6g}") for name, value in numbers.items()},
        "seeds": seeds,
        "questions": effect.questions,
    }
