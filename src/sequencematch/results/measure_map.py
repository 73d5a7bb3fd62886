"""The numbers of the map: estimates of every reading.

Scores are points: accuracy in per cent, or BLEU. A difference is between two sides on the same seeds and questions.
Each comparison counts once, however many cells have it (the default cell is part of most axes).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from sequencematch.errors import UserError
from sequencematch.results.estimates import COSTS, Effect, Place
from sequencematch.results.intervals import Resampled, adjusted
from sequencematch.results.measure import score_of
from sequencematch.results.metrics_file import read_metrics
from sequencematch.settings.map import MINUS, Reading, Side


@dataclass(frozen=True)
class Measured:
    """What a side's runs scored: points, and the means of ``COSTS``."""

    points: Resampled
    questions: int
    digest: str
    costs: dict[str, float]


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
        points = score_of(decoded, runs[0]["family"], unit=100)
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


def measure_map(readings: Sequence[Reading], measure: Callable[[Side], Measured]) -> list[Effect]:
    """Scores and differences of every reading, the p-values of the differences corrected."""
    found = []
    for reading in readings:
        for role, side in reading.sides.items():
            found.append(_effect(reading, role, measure(side), _side(side)))
        for quantity, (one, other) in reading.comparisons.items():
            a, b = measure(one), measure(other)
            if a.digest != b.digest:
                roles = " and ".join(quantity.split(MINUS))
                raise UserError(
                    f"in the cell '{reading.at}' of the map's axis '{reading.axis}', {roles} answered different "
                    "questions: compare tasks with the same data"
                )
            costs = {name: a.costs[name] - b.costs[name] for name in COSTS}
            difference = replace(a, points=a.points - b.points, costs=costs)
            found.append(_effect(reading, quantity, difference, _side(one), _side(other)))
    found_again = adjusted([effect.found for effect in found])
    return [replace(effect, found=one) for effect, one in zip(found, found_again, strict=True)]


def _effect(reading: Reading, quantity: str, measured: Measured, where: Place, against: Place | None = None) -> Effect:
    found = replace(measured.points.estimate(where, "points", against), n=measured.questions)
    return Effect(reading.axis, reading.at, reading.name, reading.column, quantity, found, measured.costs)


def _side(side: Side) -> Place:
    return Place(side.task, side.method, side.eta, side.decoding)


def differences(effects: Sequence[Effect]) -> list[Effect]:
    """Every comparison once."""
    return list({(e.found.where, e.found.against): e for e in reversed(effects) if e.found.against}.values())[::-1]
