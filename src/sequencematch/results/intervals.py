"""Means, spreads and bootstrap intervals of what S seeds score on N test questions.

Seeds and questions are crossed: every seed answers the same questions. A bootstrap replicate works on two
levels:

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
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sequencematch.results.estimates import NOWHERE, Estimate, Place
from sequencematch.seeding import generator

REPLICATES = 4000
LEVEL = 0.95


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

    def estimate(self, where: Place = NOWHERE, quantity: str = "", against: Place | None = None) -> Estimate:
        """Mean, spread and 95% bootstrap interval of a quantity there, or of a difference to ``against``."""
        mean, seeds, replicates = self.by_seed.mean(), len(self.by_seed), self.by_draw
        if seeds > 1:
            replicates = replicates + _expansion(seeds) * (_draws(seeds, "seeds") @ (self.by_seed - mean) / seeds)
        low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Estimate(float(mean), spread(self.by_seed), float(low), float(high), where, quantity, against)

    def p_value(self) -> float:
        """The two-sided p-value of a difference: how often no difference would give a value this far from 0.

        As in the interval, two uncertainties are added. That of the seeds is Student's t with S - 1 degrees of freedom
        times their standard error. That of the questions is normal with the spread of ``by_draw`` (the distribution of
        Behrens and Fisher, with one variance known). Sampling noise of single answers enters through both, so the
        p-value is rather too large.
        """
        from scipy.special import stdtr

        seeds, mean = len(self.by_seed), abs(float(self.by_seed.mean()))
        between = float(np.std(self.by_seed, ddof=1)) / math.sqrt(seeds) if seeds > 1 else 0.0
        z = np.linspace(-8, 8, 4001)
        density = np.exp(-(z**2) / 2)
        beyond = mean + float(np.std(self.by_draw)) * z
        # Seeds that agree exactly have a step for a distribution.
        tails = stdtr(seeds - 1, -beyond / between) if between else (beyond < 0) + (beyond == 0) / 2
        return float(min(1.0, 2 * (density * tails).sum() / density.sum()))


def corrected(p: np.ndarray, method: str = "bh") -> np.ndarray:
    """P-values float [n], corrected for their number so that the false discovery rate is controlled.

    At most that share of the comparisons below a level is false on average. ``bh`` (Benjamini and Hochberg 1995) is
    proven for p-values that are independent or positively dependent, ``by`` (Benjamini and Yekutieli 2001) for all.
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(p, method=method) if len(p) else p


def resampled_mean(scores: np.ndarray) -> Resampled:
    """The mean over questions of ``scores``, float [S, N] (seeds, questions)."""
    questions = scores.shape[1]
    return Resampled(scores.mean(axis=1), _draws(questions, "questions") @ scores.mean(axis=0) / questions)


def resampled_score(statistics: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> Resampled:
    """A score that is a function of summed statistics: ``score`` maps totals [..., K] to scores [...].

    statistics: counts [S, N, K] (seeds, questions, statistics).
    """
    seeds, questions, _ = statistics.shape
    draws = _draws(questions, "questions")
    by_draw = sum(score(draws @ statistics[seed]) for seed in range(seeds)) / seeds
    return Resampled(score(statistics.sum(axis=1)), by_draw)


def estimate(scores: np.ndarray) -> Estimate:
    """Mean, spread and 95% bootstrap interval of ``scores``, float [S, N] (seeds, questions)."""
    return resampled_mean(scores).estimate()


def estimate_seeds(values: np.ndarray) -> Estimate:
    """Mean, spread and Student's t interval of numbers of S > 1 seeds, float [S].

    For quantities without a number per question, such as MAUVE. The uncertainty from the questions is included only as
    far as seeds differ.
    """
    from scipy.special import stdtrit

    mean, sd = float(values.mean()), float(np.std(values, ddof=1))
    reach = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(len(values))
    return Estimate(mean, sd, mean - reach, mean + reach)


def spread(values: np.ndarray) -> float | None:
    """Sample standard deviation over seeds, float [S]; None with one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _expansion(seeds: int) -> float:
    """The factor of the deviations of seeds. It tends to 1 with more seeds."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + LEVEL) / 2
    return math.sqrt(seeds / (seeds - 1)) * float(stdtrit(seeds - 1, tail) / ndtri(tail))


@lru_cache(maxsize=8)
def _draws(n: int, level: str) -> np.ndarray:
    """How often each of n items is drawn in each replicate, float32 [REPLICATES, n]."""
    chosen = generator("bootstrap", level, n).integers(n, size=(REPLICATES, n))
    flat = chosen + n * np.arange(REPLICATES)[:, None]
    return np.bincount(flat.ravel(), minlength=REPLICATES * n).reshape(REPLICATES, n).astype(np.float32)
