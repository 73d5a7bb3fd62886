"""The bootstrap: coverage of the truth, determinism, pairing, and what few seeds do to it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from sequencematch.results.estimates import Estimate
from sequencematch.results.intervals import (
    SMALLEST_P,
    adjusted,
    estimate_seeds,
    pooled,
    resampled_mean,
    resampled_score,
)
from sequencematch.settings.map import Side

QUESTIONS = 200


def estimate(scores: np.ndarray) -> Estimate:
    """Mean, spread and interval of scores [seeds, questions]."""
    return resampled_mean(scores).estimate()


def scores(rng, seeds: int, between_seeds: float, between_questions: float, mean: float = 0.6) -> np.ndarray:
    """Answers, 0 or 1, [seeds, QUESTIONS]: each seed's skill and each question's ease are drawn anew."""
    skill = rng.uniform(-1, 1, (seeds, 1)) * between_seeds
    ease = rng.uniform(-1, 1, QUESTIONS) * between_questions
    return (rng.random((seeds, QUESTIONS)) < mean + skill + ease).astype(float)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("between_seeds", "between_questions"), [(0, 0.3), (0.02, 0.3), (0.1, 0.1), (0.1, 0.3)])
def test_coverage(seeds, between_seeds, between_questions):
    """95% intervals cover the true mean 95 times in 100 or more; a Monte Carlo error of 3 sigma is allowed."""
    rng = np.random.default_rng(seeds)
    trials = 400
    found = [estimate(scores(rng, seeds, between_seeds, between_questions)) for _ in range(trials)]
    coverage = np.mean([interval.low <= 0.6 <= interval.high for interval in found])
    assert coverage > 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


def test_coverage_of_a_paired_difference():
    """Two methods share each seed's skill and each question's ease; the truth is a difference of 0.05."""
    rng = np.random.default_rng(0)
    trials, hits = 400, 0
    for _ in range(trials):
        skill, ease = rng.uniform(-0.1, 0.1, (3, 1)), rng.uniform(-0.2, 0.2, QUESTIONS)
        own = rng.uniform(-0.02, 0.02, (2, 3, 1))
        a, b = rng.random((2, 3, QUESTIONS)) < np.array([0.6, 0.55])[:, None, None] + skill + ease + own
        interval = estimate(a.astype(float) - b)
        hits += interval.low <= 0.05 <= interval.high
    assert hits / trials > 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


def test_plain_bootstrap_of_few_seeds_would_be_too_narrow():
    """Why seeds are corrected: scores without question noise, where the plain bootstrap is known to fail."""
    rng = np.random.default_rng(1)
    plain = corrected = 0
    for _ in range(500):
        skill = rng.normal(size=3)
        resampled = skill[rng.integers(3, size=(1000, 3))].mean(axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        plain += low <= 0 <= high
        interval = estimate(np.repeat(skill[:, None], 5, axis=1))
        corrected += interval.low <= 0 <= interval.high
    assert plain / 500 < 0.85 and corrected / 500 > 0.92


def test_many_seeds_and_questions_give_the_normal_interval():
    """Far from small numbers the bootstrap equals mean +- 1.96 standard errors of the crossed design."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 1)) + 2 * rng.normal(size=400)
    error = np.sqrt(x.mean(axis=1).var(ddof=1) / 200 + x.mean(axis=0).var(ddof=1) / 400)
    interval = estimate(x)
    assert interval.mean == pytest.approx(x.mean())
    assert interval.sd == pytest.approx(x.mean(axis=1).std(ddof=1))
    assert (interval.high - interval.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.06)


def test_pairing_removes_what_both_share():
    rng = np.random.default_rng(3)
    shared = scores(rng, 3, 0.2, 0.3)
    other = np.where(rng.random(shared.shape) < 0.05, 1 - shared, shared)  # 5% of the answers differ
    paired = estimate(shared - other)
    a, b = estimate(shared), estimate(other)
    unpaired = np.hypot(a.high - a.low, b.high - b.low)
    assert paired.high - paired.low < unpaired / 3


def as_totals(answers: np.ndarray) -> np.ndarray:
    """Answers [seeds, questions] as counts whose ratio is their mean."""
    return np.stack([answers, np.ones_like(answers)], axis=-1)


def ratio(totals: np.ndarray) -> np.ndarray:
    return totals[..., 0] / totals[..., 1]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_mean_is_a_score_of_totals(seeds):
    """Both entries agree where the score is a mean, differences included."""
    rng = np.random.default_rng(4)
    a, b = scores(rng, seeds, 0.1, 0.3), scores(rng, seeds, 0.1, 0.3)
    for found, expected in (
        (resampled_score(as_totals(a), ratio), resampled_mean(a)),
        (resampled_score(as_totals(a), ratio) - resampled_score(as_totals(b), ratio), resampled_mean(a - b)),
    ):
        found, expected = found.estimate(), expected.estimate()
        assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
        assert found.sd == (pytest.approx(expected.sd) if seeds > 1 else None)


def test_coverage_of_a_ratio_and_of_a_paired_difference():
    """A score that is no mean of the questions' own: sum of parts over sum of sizes, with sizes drawn anew."""
    rng = np.random.default_rng(5)
    trials, hits, hits_paired, narrower = 400, 0, 0, 0
    for _ in range(trials):
        size, skill = rng.integers(1, 20, QUESTIONS), rng.uniform(-0.1, 0.1, (3, 1))
        a, b = rng.binomial(size, np.clip(np.array([0.6, 0.55])[:, None, None] + skill, 0, 1), (2, 3, QUESTIONS))
        sizes = np.broadcast_to(size, a.shape)
        first, second = (resampled_score(np.stack([parts, sizes], axis=-1), ratio) for parts in (a, b))
        alone, paired = first.estimate(), (first - second).estimate()
        hits += alone.low <= 0.6 <= alone.high
        hits_paired += paired.low <= 0.05 <= paired.high
        narrower += paired.high - paired.low < alone.high - alone.low
    assert narrower / trials > 0.8
    assert min(hits, hits_paired) / trials > 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


def test_intervals_of_seeds_alone_are_students():
    """Against the tabulated quantile 4.303 of 2 degrees of freedom; and 95% coverage, for that is exact."""
    found = estimate_seeds(np.array([1.0, 2.0, 3.0]))
    assert (found.mean, found.sd, found.high - 2) == pytest.approx((2, 1, 4.303 / 3**0.5), abs=1e-3)
    rng = np.random.default_rng(7)
    intervals = [estimate_seeds(rng.normal(size=3)) for _ in range(2000)]
    assert np.mean([i.low <= 0 <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.015)


def test_the_same_in_every_process():
    code = (
        "import numpy as np; from sequencematch.results.intervals import resampled_mean;"
        "print(resampled_mean(np.arange(60.).reshape(3, 20) % 7).estimate())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout == f"{estimate(np.arange(60.0).reshape(3, 20) % 7)}\n"


def test_one_seed_leaves_the_questions():
    answers = np.repeat([[1.0, 0.0]], 200, axis=0).reshape(1, 400)  # half of 400 right: standard error 0.025
    interval = estimate(answers)
    assert interval.sd is None
    assert (interval.low, interval.high) == pytest.approx((0.451, 0.549), abs=0.006)


@pytest.mark.parametrize("seeds", [1, 3, 10])
@pytest.mark.parametrize(("between_seeds", "between_questions"), [(0, 0.3), (0.1, 0.1)])
def test_p_is_below_5_percent_exactly_where_the_interval_excludes_0(seeds, between_seeds, between_questions):
    """Of two methods that do not differ, too: then p is rarely small, where the seeds are several."""
    rng = np.random.default_rng(8)
    found = []
    for i in range(200):
        skill = rng.uniform(-1, 1, (2, seeds, 1)) * between_seeds
        ease = rng.uniform(-1, 1, QUESTIONS) * between_questions
        gain = np.array([0, 0.1 * (i % 2)])[:, None, None]  # every second pair differs
        a, b = (rng.random((2, seeds, QUESTIONS)) < 0.5 + gain + skill + ease).astype(float)
        found.append((resampled_mean(b) - resampled_mean(a)).estimate(HERE, "accuracy", THERE))
    assert all((one.p < 0.05) == (one.low > 0 or one.high < 0) for one in found)
    assert {one.p < 0.05 for one in found} == {True, False}
    for level in (0.05, 0.01) if seeds > 1 else ():
        assert np.mean([one.p < level for one in found[::2]]) < level + 3 * np.sqrt(level * (1 - level) / 100)


def test_p_values_of_what_is_certain():
    rng = np.random.default_rng(9)
    a, b = (rng.random((2, 3, 1000)) < np.array([0.9, 0.5])[:, None, None]).astype(float)
    assert SMALLEST_P <= (resampled_mean(a) - resampled_mean(b)).p_value() < 0.01
    assert (resampled_mean(a) - resampled_mean(a)).p_value() == 1


def test_p_values_of_seeds_alone_are_students():
    from scipy.stats import ttest_1samp

    by_seed = np.array([0.1, 0.12, 0.05])
    assert estimate_seeds(by_seed).p == pytest.approx(ttest_1samp(by_seed, 0).pvalue)
    assert estimate_seeds(np.zeros(3)).p == 1


HERE, THERE = Side("mul", "sm", 0.2, "sampled"), Side("mul", "mle", 0.0, "sampled")


def test_a_page_corrects_each_family_for_its_number():
    """Benjamini and Hochberg multiply the k-th smallest of n by n / k. What a page shows twice counts once."""
    greedy = [replace(place, decoding="greedy") for place in (HERE, THERE)]
    compared = [
        Estimate(1.0, where=HERE, quantity="accuracy", against=THERE, p=0.01),
        Estimate(1.0, where=HERE, quantity="accuracy", against=THERE, p=0.01),  # the same again
        Estimate(1.0, where=HERE, quantity="mauve", against=THERE, p=0.2),
        Estimate(1.0, where=greedy[0], quantity="accuracy", against=greedy[1], p=0.02),
        Estimate(1.0, where=HERE, quantity="accuracy", against=greedy[0], p=0.04),  # the method with itself
        Estimate(1.0, where=HERE, quantity="accuracy"),
    ]
    found = [one.p_adjusted for one in adjusted(compared)]
    assert found[:5] == pytest.approx([0.03, 0.03, 0.2, 0.03, 0.04]) and found[5] is None
    assert adjusted([]) == []


def test_pooled_tasks_by_hand():
    """Two tasks of three seeds without question noise: the mean, Welch's degrees of freedom, Student's interval."""
    from scipy.stats import t

    tasks = [Estimate(-1.0, sd=3**0.5, error=1.0), Estimate(-3.0, sd=2 * 3**0.5, error=2.0)]
    found, freedom = pooled(tasks, [3, 3]), 25 / (1 / 2 + 16 / 2)
    reach = t.ppf(0.975, freedom) * 5**0.5 / 2
    assert (found.mean, found.low, found.high) == pytest.approx((-2, -2 - reach, -2 + reach))
    assert found.p == pytest.approx(2 * t.sf(2 / (5**0.5 / 2), freedom))
    # Questions are many: with their noise alone the interval is the normal one.
    assert pooled([Estimate(1.0, sd=0.0, error=1.0)], [3]).high == pytest.approx(1 + 1.96, abs=1e-3)


def test_pooled_intervals_cover():
    """Five tasks whose true differences are not alike, three seeds each: the mean of these five is covered."""
    rng, hits = np.random.default_rng(10), 0
    truth = np.array([0.0, 0.02, -0.02, 0.05, -0.01])
    for _ in range(300):
        tasks = []
        for difference in truth:
            skill = rng.normal(0, 0.02, (2, 3, 1))
            ease = rng.uniform(-0.2, 0.2, QUESTIONS)
            a, b = rng.random((2, 3, QUESTIONS)) < np.array([0.5 + difference, 0.5])[:, None, None] + skill + ease
            tasks.append(estimate(a.astype(float) - b))
        found = pooled(tasks, [3] * 5)
        hits += found.low <= truth.mean() <= found.high
    assert hits / 300 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)
