"""Means, spreads and bootstrap intervals of what S seeds score on N test questions.

Seeds and questions are crossed: every seed answers the same questions. A bootstrap replicate works on two levels:

1. it draws S seeds with replacement and moves the mean by their average deviation, scaled up (below);
2. it draws N questions with replacement, the same for all seeds, scores every seed on them, and moves the
   mean by the difference of their average from it.

A seed's score is the mean over its questions, or a function of their summed statistics, as BLEU is. A paired
difference is the same thing on the differences of two methods' scores, which then share the drawn seeds and
questions. The plain bootstrap of 3 seeds covers the truth about 80 times in 100 where 95 are
promised: it takes their variance to be (S-1)/S of what it is, and knows nothing of how uncertain a spread
estimated from S numbers is. Deviations of seeds are therefore multiplied by sqrt(S/(S-1)) and by the ratio of
Student's t quantile (S-1 degrees of freedom) to the normal one, as in Hesterberg's expanded percentile
interval (What Teachers Should Know About the Bootstrap, 2015). Sampling noise of single answers enters
through both levels: seeds that agree by chance never make an interval narrower than the test questions alone
allow, and coverage, 95% where seeds differ, rises to 99% where they hardly do.

With one seed the interval is the questions' alone and says nothing about the spread between seeds.

A page corrects the p-values of its differences (``Resampled.p_value``) for their number (``adjusted``): what it calls
significant is below 5% after that. Intervals are not adjusted.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from sequencematch.results.estimates import NOWHERE, Estimate, grouped
from sequencematch.seeding import generator
from sequencematch.settings.map import Side

REPLICATES = 4000
COVERAGE = 0.95
SMALLEST_P = 2 / REPLICATES  # of a resampled difference: what so few replicates can tell


@dataclass(frozen=True)
class Resampled:
    """The scores of S seeds: as measured, and on average in each replicate of the questions.

    by_seed: float [S]; by_draw: float [REPLICATES]. The draws depend only on S and N. So results are repeatable, and
    the difference of two scores on the same seeds and questions is paired.
    """

    by_seed: np.ndarray
    by_draw: np.ndarray

    def __sub__(self, other: "Resampled") -> "Resampled":
        return Resampled(self.by_seed - other.by_seed, self.by_draw - other.by_draw)

    def estimate(self, where: Side = NOWHERE, quantity: str = "", against: Side | None = None) -> Estimate:
        """Mean, spread and 95% bootstrap interval of a quantity there; of a difference to ``against`` its p-value."""
        low, high = self.interval(COVERAGE)
        sd = spread(self.by_seed)
        error = math.hypot(float(np.std(self.by_draw)), (sd or 0.0) / math.sqrt(len(self.by_seed)))
        p = self.p_value() if against else None
        return Estimate(float(self.by_seed.mean()), sd, low, high, where, quantity, against, error=error, p=p)

    @cached_property
    def _of_seeds(self) -> np.ndarray:
        """By how much the drawn seeds move the mean, float [REPLICATES]."""
        seeds = len(self.by_seed)
        return _draws(seeds, "seeds") @ (self.by_seed - self.by_seed.mean()) / seeds

    def interval(self, level: float) -> tuple[float, float]:
        """The bootstrap interval that covers so much, such as 0.95."""
        from scipy.special import ndtri, stdtrit

        seeds, tail, replicates = len(self.by_seed), (1 + level) / 2, self.by_draw
        if seeds > 1:  # the factor tends to 1 with more seeds
            factor = math.sqrt(seeds / (seeds - 1)) * float(stdtrit(seeds - 1, tail) / ndtri(tail))
            replicates = replicates + factor * self._of_seeds
        low, high = np.quantile(replicates, [(1 - level) / 2, tail])
        return float(low), float(high)

    def p_value(self) -> float:
        """The two-sided p-value of a difference: 1 minus the highest level whose interval excludes 0."""

        def excludes_0(p: float) -> bool:
            low, high = self.interval(1 - p)
            return low > 0 or high < 0

        # The 95% interval is asked first, so that p < 5% exactly where it excludes 0. Then halving finds p to 0.0001.
        there, absent = (1 - COVERAGE, SMALLEST_P) if excludes_0(1 - COVERAGE) else (1.0, 1 - COVERAGE)
        if there < 1 and excludes_0(SMALLEST_P):
            return SMALLEST_P
        while there - absent > 1e-4 * there:
            middle = (there + absent) / 2
            there, absent = (middle, absent) if excludes_0(middle) else (there, middle)
        return 1.0 if there == 1 else (there + absent) / 2


def adjusted(estimates: Sequence[Estimate]) -> list[Estimate]:
    """The estimates of a page, the p-values of its differences corrected for their number (``p_adjusted``).

    By Benjamini and Hochberg (1995): at most 5% of the differences below 5% are false on average, where p-values are
    independent or positively dependent. There are two families, each corrected by itself: comparisons of methods, and
    those of a method with itself (with a rule and without, or under other conditions). A comparison that a page shows
    twice counts once.
    """
    from scipy.stats import false_discovery_control

    compared = {_comparison(found): found for found in estimates if found.p is not None}
    corrected: dict[tuple, float] = {}
    with_itself = grouped(compared.values(), lambda e: e.against is not None and e.against.method == e.where.method)
    for family in with_itself.values():
        p_values = false_discovery_control([found.p for found in family]).tolist()
        corrected |= zip(map(_comparison, family), p_values, strict=True)
    return [replace(found, p_adjusted=corrected.get(_comparison(found))) for found in estimates]


def _comparison(found: Estimate) -> tuple:
    return found.where, found.quantity, found.against


def pooled(differences: Sequence[Estimate], seeds: Sequence[int]) -> Estimate:
    """The mean of one difference over these tasks (not over tasks in general), in the unit of the differences.

    ``seeds``: of each task. Tasks are independent, so the squared standard error of the mean is the sum of theirs over
    the squared number of tasks. Interval and p-value are Student's, with the degrees of freedom of Welch and
    Satterthwaite: S - 1 for the variance between the seeds of a task, infinitely many for that of its questions.
    Differences with one seed or without a standard error must be left out before.
    """
    mean = float(np.mean([found.mean for found in differences]))
    between = [(found.sd or 0.0) ** 2 / n for found, n in zip(differences, seeds, strict=True)]
    variance = sum((found.error or 0.0) ** 2 for found in differences)
    uncertain = sum(of_task**2 / (n - 1) for of_task, n in zip(between, seeds, strict=True))
    freedom, error = variance**2 / uncertain if uncertain else math.inf, math.sqrt(variance) / len(differences)
    return _student(mean, None, error, freedom)


def _student(mean: float, sd: float | None, error: float, freedom: float) -> Estimate:
    """Student's interval and p-value of a mean with a standard error."""
    from scipy.special import stdtr, stdtrit

    reach = float(stdtrit(freedom, (1 + COVERAGE) / 2)) * error
    p = float(2 * stdtr(freedom, -abs(mean) / error)) if error else float(mean == 0)
    return Estimate(mean, sd, mean - reach, mean + reach, error=error, p=p)


def resampled_mean(scores: np.ndarray) -> Resampled:
    """The mean over questions of ``scores``, float [S, N] (seeds, questions)."""
    questions = scores.shape[1]
    return Resampled(scores.mean(axis=1), _draws(questions, "questions") @ scores.mean(axis=0) / questions)


def resampled_score(statistics: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> Resampled:
    """A function of summed statistics: ``score`` maps totals [..., K] of counts [S, N, K] to scores [...]."""
    seeds, questions, _ = statistics.shape
    draws = _draws(questions, "questions")
    by_draw = sum(score(draws @ statistics[seed]) for seed in range(seeds)) / seeds
    return Resampled(score(statistics.sum(axis=1)), by_draw)


def estimate_seeds(values: np.ndarray) -> Estimate:
    """Mean, spread, Student's t interval and p-value of numbers of S > 1 seeds, float [S].

    For quantities without a number per question, such as MAUVE: questions count only as far as seeds differ.
    """
    sd = float(np.std(values, ddof=1))
    return _student(float(values.mean()), sd, sd / math.sqrt(len(values)), len(values) - 1)


def spread(values: np.ndarray) -> float | None:
    """Sample standard deviation over seeds, float [S]; None with one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


@lru_cache(maxsize=8)
def _draws(n: int, level: str) -> np.ndarray:
    """How often each of n items is drawn in each replicate, float32 [REPLICATES, n]."""
    chosen = generator("bootstrap", level, n).integers(n, size=(REPLICATES, n))
    flat = chosen + n * np.arange(REPLICATES)[:, None]
    return np.bincount(flat.ravel(), minlength=REPLICATES * n).reshape(REPLICATES, n).astype(np.float32)
