"""Means, spreads and bootstrap intervals of what S seeds score on N test questions.

Seeds and questions are crossed: every seed answers the same questions. A bootstrap replicate works on two
levels:

1. it draws S seeds with replacement and moves the mean by their average deviation, scaled up (below);
2. it draws N questions with replacement, the same for all seeds, and moves the mean by their average
   deviation.

A paired difference is the same thing on the differences of two methods' scores, which then share the drawn
seeds and questions. The plain bootstrap of 3 seeds covers the truth about 80 times in 100 where 95 are
promised: it takes their variance to be (S-1)/S of what it is, and knows nothing of how uncertain a spread
estimated from S numbers is. Deviations of seeds are therefore multiplied by sqrt(S/(S-1)) and by the ratio of
Student's t quantile (S-1 degrees of freedom) to the normal one, as in Hesterberg's expanded percentile
interval (What Teachers Should Know About the Bootstrap, 2015). Sampling noise of single answers enters
through both levels: seeds that agree by chance never make an interval narrower than the test questions alone
allow, and coverage, 95% where seeds differ, rises to 99% where they hardly do.

With one seed the interval is the questions' alone and says nothing about the spread between seeds.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sequencematch.seeding import generator

REPLICATES = 4000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds and questions, standard deviation between seeds (None with one), interval."""

    mean: float
    sd: float | None
    low: float
    high: float


def estimate(scores: np.ndarray) -> Estimate:
    """Mean, spread and 95% bootstrap interval of ``scores``, float [S, N] (seeds, questions).

    The draws depend on S and N alone, so results are repeatable and every comparison on the same
    seeds and questions uses the same draws.
    """
    mean = scores.mean()
    by_seed = scores.mean(axis=1)
    replicates = mean + _resampled(scores.mean(axis=0) - mean, "questions")
    if len(by_seed) > 1:
        replicates += _expansion(len(by_seed)) * _resampled(by_seed - mean, "seeds")
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(mean), spread(by_seed), float(low), float(high))


def spread(values: np.ndarray) -> float | None:
    """Sample standard deviation over seeds, float [S]; None with one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def verdict(low: float, high: float) -> str:
    """Whether an interval of a difference supports that it is positive."""
    return "yes" if low > 0 else "no" if high < 0 else "not resolved"


def _expansion(seeds: int) -> float:
    """What deviations of seeds are multiplied by; tends to 1 as seeds grow."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + LEVEL) / 2
    return math.sqrt(seeds / (seeds - 1)) * float(stdtrit(seeds - 1, tail) / ndtri(tail))


def _resampled(deviations: np.ndarray, level: str) -> np.ndarray:
    """Means [REPLICATES] of n drawn with replacement from deviations [n]."""
    return _draws(len(deviations), level) @ deviations / len(deviations)


@lru_cache(maxsize=8)
def _draws(n: int, level: str) -> np.ndarray:
    """How often each of n items is drawn in each replicate, float32 [REPLICATES, n]."""
    chosen = generator("bootstrap", level, n).integers(n, size=(REPLICATES, n))
    flat = chosen + n * np.arange(REPLICATES)[:, None]
    return np.bincount(flat.ravel(), minlength=REPLICATES * n).reshape(REPLICATES, n).astype(np.float32)
