"""Beam search: what transformers finds is what all continuations of a tiny policy say."""

from itertools import product

import pytest
import torch
from support.tiny import BOS, EOS, a_policy

from sequencematch.core import Trajectory, state_tree
from sequencematch.evaluation.beams import beam_search

VOCABULARY, LENGTH = 5, 3


@torch.no_grad()
def all_continuations(policy, prompt):
    """log pi per token of every continuation that ends, or is cut off, by itself."""
    found = {}
    for tokens in (t for n in range(1, LENGTH + 1) for t in product(range(VOCABULARY), repeat=n)):
        if EOS in tokens[:-1] or (len(tokens) < LENGTH and tokens[-1] != EOS):
            continue
        row = Trajectory(prompt=prompt, actions=tokens, imitated=[True] * len(tokens), ended=False)
        found[tokens] = policy.score(*state_tree([[row]], policy.bkspc))[0].log_policy.mean().item()
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_best_and_a_narrow_one_no_worse_than_greedy(seed):
    policy = a_policy(VOCABULARY, backspace=False, seed=seed)
    prompts = [[BOS, 3], [BOS, 4, 3], [BOS, 4]]  # of two lengths: searched apart
    greedy, narrow, wide = (beam_search(policy, prompts, n, LENGTH, batch=4) for n in (1, 2, 20))
    for i, prompt in enumerate(prompts):
        mean = all_continuations(policy, prompt)
        best = sorted(mean, key=mean.get, reverse=True)
        assert [tuple(beam.actions) for beam in wide[i][:3]] == best[:3]
        assert mean[tuple(greedy[i][0].actions)] <= mean[tuple(narrow[i][0].actions)] <= mean[best[0]]
        assert [beam.finished for beam in wide[i]] == [beam.actions[-1] == EOS for beam in wide[i]]
