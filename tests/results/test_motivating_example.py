"""Appendix B: the closed forms against a chain whose every sequence is written out, and the figure."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sequencematch.results.run_figures import chi2, kl

SCRIPT = Path(__file__).parents[2] / "src" / "plot_motivating_example.py"
LEFT = None  # the model has left the data's support


def enumerate_chain(n: int, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """P and Q of every sequence of a chain over {0, 1}; Q may also leave the support at any step, and stops there."""
    start, move = (0.3, 0.7), ((0.9, 0.1), (0.4, 0.6))
    p, q = [], []
    for sequence in itertools.product((0, 1, LEFT), repeat=n):
        length = sequence.index(LEFT) + 1 if LEFT in sequence else n
        if any(token is not LEFT for token in sequence[length:]):
            continue
        data = model = 1.0
        for i, token in enumerate(sequence[:length]):
            step = 0.0 if token is LEFT else start[token] if i == 0 else move[sequence[i - 1]][token]
            data *= step
            model *= eps if token is LEFT else (1 - eps) * step
        p.append(data)
        q.append(model)
    return np.array(p), np.array(q)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("eps", [0.01, 0.3])
def test_closed_forms_equal_enumeration(n, eps):
    p, q = enumerate_chain(n, eps)
    assert p.sum() == pytest.approx(1) and q.sum() == pytest.approx(1)
    on = p > 0
    assert kl(n, eps) == pytest.approx((p[on] * np.log(p[on] / q[on])).sum())
    assert chi2(n, eps) == pytest.approx((q * (p / q - 1) ** 2).sum())
    assert (q[~on] > 0).any()  # the model reaches what the data never does: KL(Q||P) is infinite (B.2)


def test_growth_with_length():
    """The KL doubles with the length; chi2 + 1 is squared."""
    n = np.array([10, 100])
    np.testing.assert_allclose(kl(2 * n, 0.05), 2 * kl(n, 0.05))
    np.testing.assert_allclose(1 + chi2(2 * n, 0.05), (1 + chi2(n, 0.05)) ** 2)


def test_figure(tmp_path):
    target = tmp_path / "figures" / "example.png"
    command = [sys.executable, SCRIPT, "--output", target]
    subprocess.run(command, check=True)
    assert target.read_bytes().startswith(b"\x89PNG")
