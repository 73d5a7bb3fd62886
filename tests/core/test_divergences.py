"""Each divergence's phi: against the conjugate of its f, and where it continues as a straight line."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from sequencematch import core
from sequencematch.core import Objective


def xlogx(t):
    return t * math.log(t) if t else 0.0


# f and where it is defined. kl's is shifted by -(t - 1), which changes no divergence and makes phi(0) = 0;
# chi2's conjugate is taken over all real t, as the source does (t >= 0 would hold phi at 1 beyond x = 2).
F = {
    "kl": (lambda t: xlogx(t) - (t - 1), (0, 1000)),
    "js": (lambda t: xlogx(t) - (t + 1) * math.log((t + 1) / 2), (0, 1000)),
    "chi2": (lambda t: (t - 1) ** 2, (-1000, 1000)),
}


REWARDS = (-0.68, -0.5, -0.01, 0.0, 0.3, 1.0, 2.0, 4.0)
# js continues as its tangent below -log 2 + 0.01.
CONJUGATES = [(name, x) for name in F for x in REWARDS] + [("kl", -5.0), ("chi2", -5.0)]


@pytest.mark.parametrize(("name", "x"), CONJUGATES)
def test_phi_is_the_conjugate_of_f(name, x):
    """phi(x) = -f*(-x) = min over t of f(t) + x t."""
    f, interval = F[name]
    smallest = minimize_scalar(lambda t: f(t) + x * t, bounds=interval, method="bounded", options={"xatol": 1e-9})
    phi = Objective(divergence=name).phi(torch.tensor(x, dtype=torch.float64)).item()
    assert phi == pytest.approx(smallest.fun, abs=1e-9, rel=1e-9)


def value_and_slope(phi, x):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = phi(x)
    return value.item(), torch.autograd.grad(value, x)[0].item()


@pytest.mark.parametrize(
    ("objective", "joint"),
    [
        (Objective(divergence="js"), -math.log(2) + 0.01),
        (Objective(divergence="js", js_delta=0.2), -math.log(2) + 0.2),
        (Objective(divergence="kl"), -20.0),
    ],
    ids=["js", "js-wide", "kl"],
)
def test_phi_continues_as_its_tangent(objective, joint):
    """Below the joint, phi is the line through phi's value there with phi's slope there."""
    exact = {"js": lambda x: math.log(2 - math.exp(-x)), "kl": lambda x: 1 - math.exp(-x)}[objective.divergence]
    slopes = {"js": lambda x: 1 / (2 * math.exp(x) - 1), "kl": lambda x: math.exp(-x)}[objective.divergence]
    for distance in (0.0, 1e-9, 0.5, 300.0):
        value, slope = value_and_slope(objective.phi, joint - distance)
        assert slope == pytest.approx(slopes(joint), rel=1e-9)
        assert value == pytest.approx(exact(joint) - distance * slopes(joint), rel=1e-9)
    value, slope = value_and_slope(objective.phi, joint + 1e-9)
    assert value == pytest.approx(exact(joint), rel=1e-6)
    assert slope == pytest.approx(slopes(joint), rel=1e-6)


@pytest.mark.parametrize("name", core.DIVERGENCES)
def test_phi_is_finite_in_float32_at_any_reward(name):
    x = torch.tensor([-1e4, -50.0, -0.7, 0.0, 50.0, 1e4], requires_grad=True)
    phi = Objective(divergence=name).phi(x)
    phi.sum().backward()
    assert phi.isfinite().all() and x.grad.isfinite().all()


@pytest.mark.parametrize("name", core.DIVERGENCES)
def test_phi_is_the_identity_to_first_order(name):
    assert value_and_slope(Objective(divergence=name).phi, 0.0) == pytest.approx((0, 1))
