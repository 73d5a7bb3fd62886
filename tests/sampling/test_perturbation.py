"""Perturbed decoding: nothing at rate 0, and otherwise the stated rate and replacements."""

import math
from collections import Counter

import pytest
import torch
from support.tiny import BOS, EOS, a_policy, chi_square_p, depths, enumerated, recomputed, some_prompts

from sequencematch.core import Trajectory, state_tree
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


def test_perturbation_replaces_at_its_rate_by_other_candidates(policy):
    """Under greedy decoding what was replaced can be told from the logits of the state."""
    prompts, n, rate = some_prompts(400), 400, 0.3
    candidates = [[3, 4, 5, 6] if k % 2 else [6, 7, 8, 9, 10, 11] for k in range(n)]
    rollouts, _ = sample(policy, prompts, Decoding(20, 0.0), range(n), 64, Perturbation(rate, candidates))
    _, states = recomputed(policy, prompts, rollouts)
    chances, choices = 0, Counter()
    for rollout, logits, among in zip(rollouts, states, candidates, strict=True):
        for action, depth, state in zip(rollout.actions, depths(rollout, policy.bkspc), logits, strict=True):
            drawn = int((state if depth else state[:-1]).argmax())
            if drawn not in among:
                assert action == drawn
                continue
            assert action in among
            chances += 1
            if action != drawn:
                others = [c for c in among if c != drawn]
                choices[len(others), others.index(action)] += 1
    replaced = sum(choices.values())
    assert chances > 500 and abs(replaced - rate * chances) < 4 * (chances * rate * (1 - rate)) ** 0.5
    for count in (3, 5):
        chosen = Counter({i: choices[count, i] for i in range(count)})
        assert sum(chosen.values()) > 50
        assert chi_square_p(chosen, dict.fromkeys(chosen, 1 / count)) > 1e-3


def test_perturbation_is_independent_of_the_draws():
    """The exact distribution of two actions: each drawn from the policy, then replaced or not."""
    policy, prompt, n, rate = a_policy(vocabulary=6, backspace=False), [BOS, 3], 4000, 0.4
    among = [2, 3, 4]

    def step(live):
        drawn = {actions[0]: p for actions, p in enumerated(policy, [*prompt, *live], Decoding(1)).items()}
        mass = sum(drawn[a] for a in among)
        return {
            a: p if a not in among else (1 - rate) * p + rate * (mass - p) / (len(among) - 1) for a, p in drawn.items()
        }

    expected = {(EOS,): step([])[EOS]}
    expected |= {(a, b): p * q for a, p in step([]).items() if a != EOS for b, q in step([a]).items()}
    rollouts, _ = sample(policy, [prompt] * n, Decoding(2), range(n), 1000, Perturbation(rate, [among] * n))
    assert chi_square_p(Counter(tuple(r.actions) for r in rollouts), expected) > 1e-3


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


def test_what_was_begun_surprises_nobody():
    policy, n = a_policy(), 50
    prompts, begun = some_prompts(n), [[4, 5]] * n
    surprised, _ = sample(policy, prompts, Decoding(1, surprise=9.0), range(n), 8, begun=begun)
    plain, _ = sample(policy, prompts, Decoding(1), range(n), 8, begun=begun)
    assert surprised == plain


def test_a_policy_without_backspace_takes_back_what_it_finds_unlikely():
    policy, prompts, n, bar = a_policy(backspace=False), some_prompts(60), 60, 0.08
    candidates = [range(3, 12)] * n
    rollouts, _ = sample(
        policy, prompts, Decoding(30, takeback=bar), range(n), 16, Perturbation(0.3, candidates, likely=False)
    )
    seen = 0
    for prompt, rollout in zip(prompts, rollouts, strict=True):
        live = []  # the log-probabilities of the live tokens
        for action, log_policy in zip(rollout.actions, rollout.log_policy, strict=True):
            expected = bool(live) and live[-1] < math.log(bar)
            assert (action == policy.bkspc) == expected, (prompt, rollout)
            seen += expected
            live = live[:-1] if action == policy.bkspc else [*live, log_policy]
    assert seen > 20


def test_a_policy_takes_back_what_it_finds_much_less_likely_than_the_likeliest():
    policy, prompts, n, ratio = a_policy(), some_prompts(25), 25, 0.3
    decoding = Decoding(15, takeback_ratio=ratio)
    rollouts, _ = sample(policy, prompts, decoding, range(n), 7, Perturbation(0.3, [range(3, 12)] * n))
    seen = 0
    for prompt, rollout in zip(prompts, rollouts, strict=True):
        live, lags = [], []
        for action in rollout.actions:
            expected = bool(lags) and lags[-1] > -math.log(ratio)
            assert (action == policy.bkspc) == expected
            seen += expected
            if expected:
                live.pop(), lags.pop()
                continue
            inputs, _ = state_tree([[Trajectory(prompt=[*prompt, *live], actions=[], imitated=[])]], policy.bkspc)
            with torch.no_grad():
                token = policy(inputs)[0, -1, : policy.bkspc]
            lags.append((token.max() - token[action]).item())
            live.append(action)
    assert seen > 20
