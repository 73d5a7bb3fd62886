"""The bootstrap: coverage of the truth, determinism, pairing, and what few seeds do to it."""

import subprocess
import sys

import numpy as np
import pytest

from sequencematch.intervals import estimate, verdict

QUESTIONS = 200


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


def test_the_same_in_every_process():
    code = (
        "import numpy as np; from sequencematch.intervals import estimate;"
        "print(estimate(np.arange(60.).reshape(3, 20) % 7))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout == f"{estimate(np.arange(60.0).reshape(3, 20) % 7)}\n"


def test_one_seed_leaves_the_questions():
    answers = np.repeat([[1.0, 0.0]], 200, axis=0).reshape(1, 400)  # half of 400 right: standard error 0.025
    interval = estimate(answers)
    assert interval.sd is None
    assert (interval.low, interval.high) == pytest.approx((0.451, 0.549), abs=0.006)


def test_verdicts():
    assert [verdict(0.01, 0.2), verdict(-0.2, -0.01), verdict(-0.1, 0.1), verdict(0, 0)] == [
        "yes",
        "no",
        "not resolved",
        "not resolved",
    ]
