"""Errors that are older than one token: what is forced, what counts as taken back, and what a rule can see."""

import numpy as np
import pytest
import torch
from support.tiny import BOS, EOS, a_policy

from sequencematch.data.examples import Example
from sequencematch.evaluation import wrong_tokens as module
from sequencematch.evaluation.wrong_tokens import older_errors
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import Rollout, sample
from sequencematch.settings.evaluation import Evaluation

SETTINGS = Evaluation(max_actions=20, error_depths=(0, 1, 3), error_decodings=("greedy", "greedy+takeback_ratio=0.3"))


class Tokens:
    size, bkspc, special_ids = 12, 12, {"pad": 0, "bos": BOS, "eos": EOS}
    ordinary_ids = range(3, 12)


@pytest.fixture(scope="module")
def examples():
    return [Example([BOS, 3 + i % 4], [4 + i % 5, 5, 6, EOS], 0, "") for i in range(30)]


def test_what_is_forced_is_taken_first_and_the_rest_is_the_policys_own():
    policy, prompts = a_policy(), [[BOS, 3], [BOS, 4, 5], [BOS, 6]]
    forced = [[5, 6], [], [7]]
    rollouts, counts = sample(policy, prompts, Decoding(10), [1, 2, 3], 2, forced=forced)
    for rollout, first in zip(rollouts, forced, strict=True):
        assert rollout.actions[: len(first)] == first and len(rollout.log_policy) == len(rollout.actions)
    free, _ = sample(policy, prompts, Decoding(10), [1, 2, 3], 2)
    assert rollouts[1] == free[1]
    assert counts.pushes + counts.pops == sum(len(r.actions) for r in rollouts)


def test_depths_and_decodings(examples):
    policy = a_policy()
    found = older_errors(policy, examples, examples, "arithmetic", "random", SETTINGS, 1, Tokens)
    assert list(found) == ["greedy", "greedy+takeback_ratio=0.3"]
    for by_depth in found.values():
        assert list(by_depth) == ["0", "1", "3"]
        numbers = [measured["example"] for measured in by_depth.values()]
        assert numbers[0] == list(range(30)) and set(numbers[2]) <= set(numbers[1])
        for measured in by_depth.values():
            assert len({len(column) for column in measured.values()}) == 1
            assert not any(r and not b for r, b in zip(measured["right"], measured["taken_back"], strict=True))
    # The rule sees the last token alone: at depth 0 it deletes what was unlikely, greedy tokens are never unlikely.
    by_rule = found["greedy+takeback_ratio=0.3"]
    assert any(by_rule["0"]["taken_back"]) and not any(by_rule["1"]["taken_back"] + by_rule["3"]["taken_back"])


def test_the_rule_for_every_live_token_deletes_older_errors_too(examples):
    """At any depth, the wrong tokens that the rule for the last token deletes at once: the others were likely."""
    names = ("greedy+takeback_ratio=0.3", "greedy+takeback_any_ratio=0.3")
    settings = SETTINGS.model_copy(update={"error_decodings": names})
    policy = a_policy(backspace=False)
    last, of_any = older_errors(policy, examples, examples, "arithmetic", "random", settings, 1, Tokens).values()
    at_once = dict(zip(last["0"]["example"], last["0"]["taken_back"], strict=True))
    assert 0 < sum(at_once.values()) < len(at_once)
    for measured in of_any.values():
        assert measured["taken_back"] == [at_once[i] for i in measured["example"]]


def test_likely_errors_come_from_the_proposer(examples, monkeypatch, tmp_path):
    def proposed(tokenizer, proposer):
        assert proposer == tmp_path
        return lambda batch: [np.eye(12)[[7] * len(e.completion)] for e in batch]

    monkeypatch.setattr(module, "model_noise", proposed)
    settings = SETTINGS.model_copy(update={"error_kind": "model"})
    asked, real = [], module.sample
    monkeypatch.setattr(module, "sample", lambda *a, **o: asked.append(o["forced"]) or real(*a, **o))
    older_errors(a_policy(), examples, examples, "arithmetic", "random", settings, 1, Tokens, tmp_path)
    assert all(row[0] == 7 for forced in asked for row in forced)


def test_a_policy_without_bkspc_has_its_rule_alone(examples):
    policy = a_policy(backspace=False)
    found = older_errors(policy, examples, examples, "text", "random", SETTINGS, 1, Tokens)
    assert list(found) == ["greedy+takeback_ratio=0.3"]
    assert all(measured["right"] is None for measured in found["greedy+takeback_ratio=0.3"].values())
    off = SETTINGS.model_copy(update={"error_depths": ()})
    assert older_errors(policy, examples, examples, "text", "random", off, 1, Tokens) == {}


def test_taken_back_means_that_the_first_token_was_removed():
    def taken_back(*actions):
        return module._taken_back(Rollout(list(actions), True, []), 12)

    assert taken_back(5, 12, 6) and taken_back(5, 6, 12, 12, EOS)
    assert not taken_back(5, 6, 12, 7, EOS) and not taken_back(5)


@torch.no_grad()
def test_the_tokens_in_between_are_greedy_and_never_bkspc_and_do_not_count_as_written(examples, monkeypatch):
    policy, seen = a_policy(), []

    def recorded(*arguments, **options):
        drawn = sample(*arguments, **options)
        seen.append((options["forced"], drawn[0]))
        return drawn

    monkeypatch.setattr(module, "sample", recorded)
    found = older_errors(policy, examples, examples, "arithmetic", "random", SETTINGS, 1, Tokens)
    assert all(12 not in actions for forced, _ in seen for actions in forced)
    measured = [one for by_depth in found.values() for one in by_depth.values()]
    for one, (forced, rollouts) in zip(measured, seen[1:], strict=True):
        own = [r.actions[len(first) :] for r, first in zip(rollouts, forced, strict=True)]
        assert one["pushes"] == [sum(action != 12 for action in actions) for actions in own]
