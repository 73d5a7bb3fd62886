"""Random numbers by stream: uniform, the same wherever they are drawn, and independent of each other."""

import numpy as np
from scipy.stats import kstest

from sequencematch.seeding import stable_seed, uniforms


def test_numbers_are_uniform_and_below_one():
    numbers = uniforms([stable_seed("test", k) for k in range(2000)], 50)
    assert numbers.dtype == np.float32 and 0 <= numbers.min() and numbers.max() < 1
    assert kstest(numbers.ravel(), "uniform").pvalue > 0.001
    together = np.corrcoef(numbers, rowvar=False)[np.triu_indices(50, 1)]
    assert np.abs(together).max() < 0.11  # 1,225 correlations of standard error 0.022


def test_a_row_depends_on_its_own_stream_alone():
    rows = uniforms([5, 6, 7], 20)
    assert np.array_equal(rows[1], uniforms([6], 20)[0])
    assert np.array_equal(rows[:, :8], uniforms(np.array([5, 6, 7]), 8))
    assert len(np.unique(rows)) == 60
    assert uniforms([], 4).shape == (0, 4)
