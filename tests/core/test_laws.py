"""The seven laws of the method, in float64: on random trajectories, and on a small MDP with backspaces."""

import math
import random
from dataclasses import replace
from itertools import product

import pytest
import torch
from scipy.optimize import minimize
from support.networks import BKSPC, random_row
from support.token_mdp import TokenMDP, policy_of

from sequencematch import core
from sequencematch.core import Normaliser, Objective, StateIndex, score, state_tree

ALL = list(core.DIVERGENCES)
PLAIN = ["kl", "js", "chi2"]


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


# ---- Laws 1-3: on trajectories with mistakes, repairs and padding ------------------------------------


@pytest.fixture(params=[1, 3])
def deletions(request):
    """How many tokens an action deletes at most."""
    return request.param


@pytest.fixture(params=[1, 2])
def mdp(request):
    return TokenMDP(request.param)


def random_batch(deletions, rows=12, kept=False):
    """Logits, and the scores of data and rollouts as functions of them. kept: deletions are inputs, too."""
    rng = random.Random(11)
    inputs, batches = state_tree([random_row(rng, deletions=deletions) for _ in range(rows)], BKSPC + kept * deletions)
    assert deletions == 1 or any((states.action > BKSPC).any() for states in batches)
    logits = 2 * torch.randn(*inputs.token.shape, BKSPC + deletions)
    return logits.requires_grad_(), batches


def sequence_match(data, model, objective):
    return core.sequence_match(
        data, model, objective, Normaliser(trajectories=1, length=1, cloned=1, model_transitions=1)
    )


@pytest.mark.parametrize("divergence", ALL)
def test_law_1_small_alpha_is_behavioural_cloning(divergence, deletions):
    """alpha -> 0: the gradient of J tends to that of sum_i gamma^i log pi(a_i|s_i), at a rate of alpha (D.2)."""
    logits, batches = random_batch(deletions)
    data, model = (score(logits, trajectories, deletions) for trajectories in batches)
    weights = 0.8 ** torch.arange(data.taken.shape[1])
    likelihood = torch.where(data.imitated, weights * data.log_policy, 0.0).sum()
    limit = torch.autograd.grad(likelihood, logits, retain_graph=True)[0]

    assert 0 < data.ended.sum() < len(data.ended)  # cut-off trajectories are among them

    def error(alpha):
        loss = sequence_match(data, model, Objective(divergence=divergence, alpha=alpha, gamma=0.8))
        return (torch.autograd.grad(-loss, logits, retain_graph=True)[0] - limit).abs().max().item()

    if divergence == "mle":
        assert error(1.0) < 1e-12
    else:
        assert error(1e-3) > 1e-5
        assert error(1e-4) == pytest.approx(error(1e-3) / 10, rel=0.1)
        assert error(1e-6) == pytest.approx(error(1e-3) / 1000, rel=0.1)


@pytest.mark.parametrize("kept", [False, True])
def test_law_2_the_discounted_value_bracket_is_the_first_value(deletions, kept):
    """On any trajectory that ended, sum_i gamma^i (V(s_i) - gamma V(s_{i+1})) + gamma^N V(s_N) = V(s_0) (C.3); on one
    that was cut off the last term is missing."""
    logits, batches = random_batch(deletions, kept=kept)
    for scores in (score(logits, trajectories, deletions) for trajectories in batches):
        for gamma in (0.3, 0.95, 0.999):
            objective = Objective(gamma=gamma)
            bracket = core.transition_weights(scores, objective) * core.value_differences(scores, objective)
            n = scores.taken.sum(1)
            rest = torch.where(scores.ended, 0.0, gamma**n * scores.value[:, -1])  # of a trajectory that was cut off
            torch.testing.assert_close(bracket.sum(1), scores.value[:, 0] - rest, rtol=1e-12, atol=1e-12)
        uniform = Objective(gamma=0.95, weighting="uniform", value_from="both")
        bracket = core.transition_weights(scores, uniform) * core.value_differences(scores, uniform)
        assert (bracket.sum(1) - scores.value[:, 0]).abs().max() > 0.1


def test_law_3_a_state_s_constant_moves_its_value_alone(deletions):
    """A constant per state moves V by it; neither the policy, nor BC, nor the mle objective; but chi2's."""
    logits, batches = random_batch(deletions)
    shift = 3 * torch.randn(*logits.shape[:2])
    before = [score(logits, trajectories, deletions) for trajectories in batches]
    after = [score(logits + shift[..., None], trajectories, deletions) for trajectories in batches]
    for old, new, trajectories in zip(before, after, batches, strict=True):
        torch.testing.assert_close(new.value - old.value, shift.gather(1, trajectories.state))
        torch.testing.assert_close(new.log_policy, old.log_policy)
        torch.testing.assert_close(core.behavioural_cloning(new), core.behavioural_cloning(old))
    mle, chi2 = Objective(divergence="mle", alpha=0.2, gamma=0.8), Objective(divergence="chi2", alpha=0.2, gamma=0.8)
    torch.testing.assert_close(sequence_match(*after, mle), sequence_match(*before, mle))
    assert (sequence_match(*after, chi2) - sequence_match(*before, chi2)).abs() > 0.1


# ---- Law 4: r and Q ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.5, 0.95])
def test_law_4_rewards_and_logits_determine_each_other(gamma, mdp):
    """r = Q - gamma P (Q - log pi), as the core computes it, is undone by Q = (I - gamma P)^-1 (r - gamma P log pi)
    and by iterating the Bellman operator from anywhere (C.2, with alpha = 1).

    C.2 prints (I - gamma P)^-1 (r + log pi): from its own previous line, r = Q - gamma P (Q - log pi), that
    is a slip, and here it does not give Q back.
    """
    table = mdp.random_table()
    legal = mdp.legal.flatten()
    q = table.flatten()[legal]
    log_policy = torch.log_softmax(table, dim=1).flatten()[legal]
    r = mdp.table_of_rewards(table, Objective(alpha=1.0, gamma=gamma)).flatten()[legal]
    # P [(s, a), (s', a')] = pi(a'|s') where a leads from s to s'.
    leads = mdp.next.flatten()[legal][:, None] == legal.nonzero()[:, 0][None, :] // mdp.actions
    p = leads * log_policy.exp()
    torch.testing.assert_close(p.sum(1), torch.ones(len(q)))
    identity = torch.eye(len(q))

    torch.testing.assert_close(r, q - gamma * p @ (q - log_policy))
    torch.testing.assert_close(torch.linalg.solve(identity - gamma * p, r - gamma * p @ log_policy), q)
    fixed_point = torch.randn(len(q))
    for _ in range(math.ceil(math.log(1e-14) / math.log(gamma))):
        fixed_point = r + gamma * p @ (fixed_point - log_policy)
    torch.testing.assert_close(fixed_point, q)

    printed = torch.linalg.solve(identity - gamma * p, r + log_policy)
    assert (printed - q).abs().max() > 0.1


# ---- Law 5: what maximising J finds ------------------------------------------------------------------


def f_divergence(name, p, q):
    """D_f(p, q) = sum q f(p / q), of measures of equal mass, in closed form; 2 chi2(q, mixture) for chi2_mixture."""
    middle = (p + q) / 2
    return {
        "kl": lambda: torch.xlogy(p, p / q).sum(),
        "js": lambda: torch.xlogy(p, p / middle).sum() + torch.xlogy(q, q / middle).sum(),
        "chi2": lambda: ((p - q) ** 2 / q).sum(),
        "chi2_mixture": lambda: 2 * ((q - middle) ** 2 / middle).sum(),
    }[name]()


def maximise(function, start):
    """The maximum of a smooth function of a float64 vector, and where it is (a Newton method)."""

    def negative(x):
        x = torch.tensor(x, requires_grad=True)
        value = -function(x)
        return value.item(), torch.autograd.grad(value, x)[0].numpy()

    def curvature(x):
        return -torch.autograd.functional.hessian(function, torch.tensor(x), vectorize=True).numpy()

    found = minimize(negative, start.numpy(), jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-10})
    return -found.fun, torch.tensor(found.x)


@pytest.mark.parametrize("divergence", [*PLAIN, "chi2_mixture"])
def test_law_5_the_best_reward_attains_the_divergence(divergence):
    """sup_r E_data[phi(r)] - E_model[r] (+ the mixture's penalty) = D_f(model, data): the data is f's *second*
    argument (D.1), so that kl is KL(model || data), though D.2 calls it the forward one."""
    data, model = torch.softmax(torch.randn(6), 0), torch.softmax(torch.randn(6), 0)
    objective = Objective(divergence=divergence)

    def gain(r):
        return (data * objective.phi(r) - model * r - objective.rollout_penalty * model * r**2).sum()

    best, _ = maximise(gain, torch.zeros(6))
    assert best == pytest.approx(f_divergence(divergence, model, data).item(), abs=1e-8)
    if divergence in ("kl", "chi2"):
        assert abs(best - f_divergence(divergence, data, model).item()) > 0.01


GAMMA = 0.8


@pytest.fixture
def demonstrations(mdp):
    """A data set of trajectories with backspaces, in which every action of every state is taken."""
    trajectories = mdp.sample(policy_of(mdp.random_table(0.5)), 60 * mdp.deletions**2)
    return trajectories, mdp.empirical_occupancy(trajectories, GAMMA)


def best_policy(mdp, trajectories, objective):
    """The maximum of alpha J over free logits, and the policy there."""

    def gain(free):
        scores = mdp.scores_of(torch.full(mdp.legal.shape, -torch.inf).masked_scatter(mdp.legal, free), trajectories)
        # Any trajectories from the same start do for the model half: its bracket telescopes to V(s_0).
        loss = core.sequence_match(
            scores, scores, objective, Normaliser(trajectories=count, length=1, cloned=1, model_transitions=count)
        )
        return -objective.alpha * loss

    count = len(trajectories.state)
    best, free = maximise(gain, torch.zeros(int(mdp.legal.sum())))
    return best, policy_of(torch.full(mdp.legal.shape, -torch.inf).masked_scatter(mdp.legal, free))


@pytest.mark.parametrize("divergence", PLAIN)
def test_law_5_maximising_j_recovers_the_data_policy(demonstrations, divergence, mdp):
    """max_Q alpha J = min_pi D_f(rho_pi, rho_data) - alpha H(pi) (C.5), and as alpha -> 0 the policy is the data's.

    The entropy's pull on the policy is first-order in alpha: at no alpha > 0 is the data policy recovered exactly.
    """
    trajectories, rho_data = demonstrations
    assert (rho_data[mdp.legal] > 0).all()
    data_policy = rho_data / rho_data.sum(1, keepdim=True)
    torch.testing.assert_close(mdp.occupancy(data_policy, GAMMA), rho_data)

    def primal(policy, alpha):
        rho = mdp.occupancy(policy, GAMMA)
        entropy = -(rho * torch.where(mdp.legal, policy.log(), 0.0)).sum()
        return (f_divergence(divergence, rho[mdp.legal], rho_data[mdp.legal]) - alpha * entropy).item()

    errors = []
    for alpha in (0.1, 0.01, 0.001):
        objective = Objective(divergence=divergence, alpha=alpha, gamma=GAMMA)
        best, policy = best_policy(mdp, trajectories, objective)
        assert best == pytest.approx(primal(policy, alpha), abs=1e-9)  # no gap: both are optimal
        for _ in range(3):
            other = policy_of(policy.log() + 0.1 * torch.randn(policy.shape))
            assert primal(other, alpha) > best
        errors.append((policy - data_policy).abs().max().item())
    assert errors[2] < 0.002
    assert errors[1] / errors[0] < 0.2 and errors[2] / errors[1] == pytest.approx(0.1, rel=0.2)


# ---- Laws 6 and 7 ------------------------------------------------------------------------------------


def exact_j(mdp, table, data_policy, objective):
    """J from the occupancies of data and model, in place of sums over trajectories."""
    r = mdp.table_of_rewards(table, objective)
    rho_data, rho_model = (mdp.occupancy(policy, objective.gamma) for policy in (data_policy, policy_of(table)))
    on_data = (rho_data * objective.phi(r)).sum() / objective.alpha
    on_model = objective.rollout_penalty * (rho_model * r**2).sum() / objective.alpha
    return on_data - torch.logsumexp(table[0], 0) - on_model


def paths(mdp, policy, depth=5):
    """Every trajectory from the empty string that ends within ``depth`` actions: (states, actions, probability)."""
    found, open_ = [], [([0], [], 1.0)]
    for _ in range(depth):
        grown = []
        for states, actions, p in open_:
            for a in mdp.legal[states[-1]].nonzero()[:, 0].tolist():
                after = mdp.next[states[-1], a].item()
                path = ([*states, after], [*actions, a], p * policy[states[-1], a].item())
                (found if after >= len(mdp.legal) // 2 else grown).append(path)
        open_ = grown
    return found


def from_two_prompts(mdp, policies):
    """The trajectories of two prompts, each with a policy [S, A] and a copy of the MDP of its own, as one
    ``StateIndex``, and their probabilities, which sum to 1."""
    found = [(k * len(mdp.legal), *path) for k, policy in enumerate(policies) for path in paths(mdp, policy)]
    n = max(len(actions) for _, _, actions, _ in found)
    state = torch.tensor([[first + i for i in [*s, *[s[-1]] * (n + 1 - len(s))]] for first, s, _, _ in found])
    action = torch.tensor([[*a, *[0] * (n - len(a))] for _, _, a, _ in found])
    taken = torch.tensor([[i < len(a) for i in range(n)] for _, _, a, _ in found])
    p = torch.tensor([p for *_, p in found])
    return StateIndex(
        state=state, action=action, taken=taken, imitated=taken, ended=torch.ones(len(found), dtype=torch.bool)
    ), p / p.sum()


def test_law_6_both_places_of_the_bracket_have_one_expectation_and_data_has_less_noise(mdp):
    """By enumeration of all trajectories within five actions from either of two prompts, data and rollouts drawn
    independently: the expected gradient is the same with the bracket from data and with half of it from each; its
    variance is larger with both."""
    tables = [mdp.random_table() for _ in range(2)]
    data, p = from_two_prompts(mdp, [policy_of(mdp.random_table()) for _ in tables])
    model, q = from_two_prompts(mdp, map(policy_of, tables))
    legal = torch.cat([mdp.legal, mdp.legal])
    free = torch.cat(tables)[legal].clone().requires_grad_()
    logits = torch.full(legal.shape, -torch.inf).masked_scatter(legal, free)
    for index, weight in ((data, p), (model, q)):  # so that a prompt is as likely in the data as in rollouts
        for first in (0, len(mdp.legal)):
            of_prompt = index.state[:, 0] == first
            weight[of_prompt] /= 2 * weight[of_prompt].sum()

    def moments(value_from):
        """Mean and variance of the gradient of J, over a pair of data trajectory and rollout."""
        objective = Objective(divergence="chi2_mixture", alpha=0.3, gamma=GAMMA, value_from=value_from)
        parts = []
        for half, index, weight in ((core.data_objective, data, p), (core.rollout_objective, model, q)):
            each = [half(rows(mdp.scores_of(logits, index), [k]), objective) for k in range(len(weight))]
            slopes = torch.stack([torch.autograd.grad(j, free, retain_graph=True)[0] for j in each])
            mean = weight @ slopes
            parts.append((mean, weight @ (slopes - mean).square()))
        (mean_data, variance_data), (mean_model, variance_model) = parts
        return mean_data + mean_model, (variance_data + variance_model).sum().item()

    (from_data, less), (from_both, more) = moments("data"), moments("both")
    torch.testing.assert_close(from_data, from_both, atol=1e-12, rtol=0)
    assert less < 0.999 * more


@pytest.mark.parametrize("value_from", ["data", "both"])
@pytest.mark.parametrize("divergence", [*PLAIN, "chi2_mixture"])
def test_law_6_the_plug_in_estimator_is_unbiased(divergence, value_from, mdp):
    """Its mean over sampled trajectories is the exact J (C.6)."""
    table, data_policy, count = mdp.random_table(), policy_of(mdp.random_table()), 10_000
    # A slope with a modest variance.
    objective = Objective(divergence=divergence, alpha=0.3, gamma=GAMMA, js_delta=0.2, value_from=value_from)
    data, model = (mdp.scores_of(table, mdp.sample(policy, count)) for policy in (data_policy, policy_of(table)))
    plug_in = (core.data_objective(data, objective) + core.rollout_objective(model, objective)) / count
    # The spread of one trajectory's estimate, from the means of 50 groups of 200.
    groups = [
        (core.data_objective(rows(data, part), objective) + core.rollout_objective(rows(model, part), objective)) / 200
        for part in torch.arange(count).split(200)
    ]
    error = torch.stack(groups).std() / len(groups) ** 0.5

    def distance(data_policy, objective):
        return abs(plug_in - exact_j(mdp, table, data_policy, objective)) / error

    assert distance(data_policy, objective) < 4
    # The bound has teeth: another gamma, data policy or penalty would be seen.
    assert distance(data_policy, replace(objective, gamma=GAMMA + 0.05)) > 6
    assert distance(policy_of(mdp.random_table()), objective) > 6
    if divergence == "chi2_mixture":
        assert distance(data_policy, replace(objective, c=0.4)) > 6


def rows(scores, part):
    return core.Scores(**{name: tensor[part] for name, tensor in vars(scores).items()})


@pytest.mark.parametrize(("n", "epsilon"), product([1, 5, 40], [0.01, 0.2]))
def test_law_7_the_leaking_chain(n, epsilon):
    """Data stays on a chain of n steps, the model leaks epsilon at each (appendix B): KL(P||Q) is the cloning
    loss, -n log(1 - epsilon); chi2 is (1 - epsilon)^-n - 1; KL(Q||P) is infinite."""
    leak = [epsilon * (1 - epsilon) ** i for i in range(n)]
    p, q = torch.tensor([0.0] * n + [1.0]), torch.tensor([*leak, (1 - epsilon) ** n])
    assert q.sum().item() == pytest.approx(1)
    assert f_divergence("kl", p, q).item() == pytest.approx(-n * math.log(1 - epsilon))
    assert f_divergence("chi2", p, q).item() == pytest.approx((1 - epsilon) ** -n - 1)
    assert f_divergence("kl", q, p).item() == math.inf

    logits = torch.tensor([1 - epsilon, epsilon, 0.0]).log().expand(1, n + 1, 3)  # stay, leak, no <bkspc>
    taken = torch.ones(1, n, dtype=torch.bool)
    chain = StateIndex(
        state=torch.arange(n + 1)[None],
        action=torch.zeros(1, n, dtype=torch.long),
        taken=taken,
        imitated=taken,
        ended=taken[:, 0],
    )
    assert core.behavioural_cloning(score(logits, chain)).item() == pytest.approx(f_divergence("kl", p, q).item())
