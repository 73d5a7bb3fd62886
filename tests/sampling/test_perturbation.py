"""Perturbed decoding: nothing at rate 0, and otherwise the stated rate and replacements."""

import math
from collections import Counter

import pytest
from support.tiny import BOS, EOS, a_policy, chi_square_p, enumerated, next_logits, some_prompts

from sequencematch.sampling.rollout import Decoding, Perturbation, sample


@pytest.fixture(scope="module")
def policy():
    return a_policy()


def test_perturbation_of_rate_zero_changes_nothing(policy):
    prompts = some_prompts(40)
    plain, _ = sample(policy, prompts, Decoding(20), range(40), 8)
    candidates = [range(3, 12)] * 40
    assert sample(policy, prompts, Decoding(20), range(40), 8, Perturbation(0.0, candidates))[0] == plain
    assert sample(policy, prompts, Decoding(20), range(40), 8, Perturbation(0.9, [[5]] * 40))[0] == plain
    assert sample(policy, prompts, Decoding(20), range(40), 8, Perturbation(0.9, candidates))[0] != plain


def test_perturbation_is_independent_of_the_draws():
    """The exact distribution of two actions: each drawn from the policy, then replaced by a candidate of its prompt."""
    policy, prompt, n, rate = a_policy(vocabulary=6, backspace=False), [BOS, 3], 8000, 0.4
    candidates = [[2, 3, 4], [3, 5]] * (n // 2)
    rollouts, _ = sample(policy, [prompt] * n, Decoding(2), range(n), 1000, Perturbation(rate, candidates))
    for k, among in enumerate(candidates[:2]):

        def step(live, among=among):
            drawn = {actions[0]: p for actions, p in enumerated(policy, [*prompt, *live], Decoding(1)).items()}
            mass, others = sum(drawn[a] for a in among), len(among) - 1
            return {a: p if a not in among else (1 - rate) * p + rate * (mass - p) / others for a, p in drawn.items()}

        expected = {(EOS,): step([])[EOS]}
        expected |= {(a, b): p * q for a, p in step([]).items() if a != EOS for b, q in step([a]).items()}
        assert chi_square_p(Counter(tuple(r.actions) for r in rollouts[k::2]), expected) > 1e-3


def test_likely_errors_are_drawn_as_the_policy_finds_them():
    policy, prompt, n, rate = a_policy(vocabulary=8, backspace=False), [BOS, 3], 6000, 0.5
    among = [3, 4, 5, 6]
    first = {actions[0]: p for actions, p in enumerated(policy, prompt, Decoding(1)).items()}
    mass = sum(first[a] for a in among)
    expected = {(a,): p for a, p in first.items() if a not in among}
    for a in among:
        replacing = sum(first[b] * first[a] / (mass - first[b]) for b in among if b != a)
        expected[(a,)] = (1 - rate) * first[a] + rate * replacing
    assert sum(expected.values()) == pytest.approx(1)
    perturbation = Perturbation(rate, [among] * n, likely=True)
    rollouts, _ = sample(policy, [prompt] * n, Decoding(1), range(n), 1000, perturbation)
    assert chi_square_p(Counter(tuple(r.actions) for r in rollouts), expected) > 1e-3


def test_surprise_follows_the_tokens_that_are_live():
    """The exact distribution of four actions, in which tokens are written, taken back and written again."""
    policy, prompt, n = a_policy(vocabulary=5), [BOS, 3], 6000
    decoding = Decoding(4, bkspc_bias=-1.0, surprise=1.5)
    expected = enumerated(policy, prompt, decoding)
    rollouts, _ = sample(policy, [prompt] * n, decoding, range(n), 1000)
    observed = Counter(tuple(r.actions) for r in rollouts)
    assert chi_square_p(observed, expected) > 1e-3
    assert chi_square_p(observed, enumerated(policy, prompt, Decoding(4, bkspc_bias=-1.0))) < 1e-6


@pytest.mark.parametrize("backspace", [False, True])
@pytest.mark.parametrize(("rule", "bar"), [("takeback", 0.08), ("takeback_ratio", 0.3)])
def test_a_rule_deletes_exactly_what_it_finds_too_unlikely(rule, bar, backspace):
    """Beside passes over the whole live text; with a learned <bkspc>, which is not drawn, and without."""
    policy, prompts, n = a_policy(backspace=backspace), some_prompts(30), 30
    decoding = Decoding(20, **{rule: bar})
    rollouts, _ = sample(policy, prompts, decoding, range(n), 7, Perturbation(0.3, [range(3, 12)] * n))
    seen = 0
    for prompt, rollout in zip(prompts, rollouts, strict=True):
        live, likelihoods = [], []
        for action in rollout.actions:
            expected = bool(live) and likelihoods[-1] < math.log(bar)
            assert (action == policy.bkspc) == expected
            seen += expected
            if expected:
                live.pop(), likelihoods.pop()
                continue
            logits = next_logits(policy, [*prompt, *live])[: None if live else policy.bkspc]
            most = logits.logsumexp(-1) if rule == "takeback" else logits[: policy.bkspc].max()
            likelihoods.append((logits[action] - most).item())
            live.append(action)
    assert seen > 20
