"""Appendix B: how three divergences see a model that leaks.

Data are sequences of length n from a Markov chain; the model is the same chain, but at each step it leaves
the data's support with probability eps. P is the data, Q the model. On the support Q = (1-eps)^n P, so the
algebra is exact. eps in (0, 1), n >= 1, either an array.
"""

import numpy as np


def kl(n, eps):
    """KL(P||Q) = E_P[log P - log Q] = -n log(1 - eps): linear in n, mild however long the sequence.

    B.1 prints ``-n log Q(1 - eps)``, having lost its parentheses.
    """
    return -n * np.log1p(-eps)


def reverse_kl(n, eps):
    """KL(Q||P) = E_Q[log Q - log P] = infinity (B.2): Q reaches what P never does, at any n and eps."""
    return np.full(np.broadcast(n, eps).shape, np.inf)


def chi2(n, eps):
    """E_Q[(P/Q - 1)^2] = (1 - eps)^-n - 1: exponential in n, and finite.

    This orientation, the expectation under the model, is the one that B.3 prints (and leaves unevaluated); under the
    data, E_P[(Q/P - 1)^2] would not see the leak, and the sum of (Q - P)^2/P is infinite like the reverse KL.
    Values above the range of float64 come out as infinity.
    """
    with np.errstate(over="ignore"):
        return np.expm1(kl(n, eps))
