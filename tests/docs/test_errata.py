"""Errata of the appendix that no other test holds (docs/errata.md lists them all): the printed forms, refuted."""

import re

import pytest
import torch
from support.token_mdp import ABSORBING, STATES, TokenMDP, policy_of
from support.workflow import ROOT

from sequencematch.results.estimates import read_reported


def test_every_erratum_names_a_test_that_exists():
    errata = re.split(r"^- \*\*", (ROOT / "docs/errata.md").read_text(), flags=re.M)[1:]
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(errata) > 10
    for erratum in errata:
        name = re.search(r"Test:\s+`(test_\w+)`\.", erratum)
        assert name and f"def {name[1]}(" in tests, erratum


def test_c1_occupancies_need_their_initial_state():
    """rho(s) = (1 - gamma) P_0(s) + gamma sum rho(s', a') P(s|s', a'); C.1 prints it without the first term."""
    torch.manual_seed(0)
    gamma, start = 0.8, torch.eye(len(STATES), dtype=torch.float64)[0]
    mdp = TokenMDP(deletions=1)
    table = mdp.random_table().double()
    rho = (1 - gamma) * mdp.occupancy(policy_of(table.float()), gamma).double()
    arriving = torch.zeros(len(STATES), dtype=torch.float64)
    for s, a in mdp.legal.nonzero():
        arriving[mdp.next[s, a]] += rho[s, a]
    assert rho.sum().item() == pytest.approx(1, abs=1e-5) and ABSORBING.any()
    torch.testing.assert_close(rho.sum(1), (1 - gamma) * start + gamma * arriving, atol=1e-6, rtol=0)
    assert (rho.sum(1) - gamma * arriving).abs().max() > 0.1


def test_d2_limit_of_small_alpha():
    """(1 - exp(-alpha x)) / alpha -> x, while the printed 1 / alpha - exp(-alpha x) grows without bound."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for alpha in (1e-2, 1e-3, 1e-4):
        torch.testing.assert_close(-torch.expm1(-alpha * x) / alpha, x, atol=3 * alpha, rtol=0)
        assert ((1 / alpha - torch.exp(-alpha * x)) > 0.9 / alpha).all()


def test_h1_printed_unlikelihood_rewards_repetition():
    """Gradient descent on - P(c) raises the probability of the repeated c; on - log(1 - P(c)) it lowers it."""
    for loss, direction in ((lambda p: -p, 1), (lambda p: -torch.log1p(-p), -1)):
        logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(logits.softmax(0)[0]), logits)
        assert torch.sign(-gradient[0]).item() == direction


def printed(source, metric, method="sm"):
    (number,) = [n.value for n in read_reported() if (n.source, n.metric, n.method) == (source, metric, method)]
    return number


def test_timing_tables_do_not_add_up():
    def sum_of(source):
        sampling = printed(source, "sampling_seconds") / printed(source, "gradient_steps_per_sample")
        return printed(source, "gradient_step_seconds") + sampling

    total = "amortised_total_seconds"
    assert round(sum_of("table 3"), 1) == 8.4 != printed("table 3", total)
    assert round(sum_of("table 4"), 2) == 2.16 == printed("table 4", total)
    assert printed("table 3", total, "mle") == printed("table 3", "gradient_step_seconds", "mle")
    assert printed("table 4", total, "mle") == 1.5 != printed("table 4", "gradient_step_seconds", "mle")


def test_table_5_has_both_noise_levels():
    """G.2 says that the noise level was 0.2."""
    bleu = {(n.method, n.eta): n.value for n in read_reported() if n.metric == "bleu"}
    assert {eta for _, eta in bleu} == {0.02, 0.2} and bleu["bc", 0.02] != bleu["bc", 0.2]
