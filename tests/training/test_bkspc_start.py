"""The first values of the row of ``<bkspc>``: what they say on clean states."""

import pytest
import torch
from support.tiny import a_policy

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.training.batches import Corpus
from sequencematch.training.bkspc_start import bkspc_shares, clean_states, start_bkspc

BKSPC = 12
CLEAN = Corpus(
    [[Trajectory(prompt=[1, 5], actions=[4 + i % 3, 7, 3 + i % 5, 2], imitated=[True] * 4) for i in range(30)]], "clean"
)
NOISED = Corpus(
    [
        [
            Trajectory(prompt=[1, 5], actions=[4 + i % 3, 9, BKSPC, 7, 2], imitated=[True, False, True, True, True])
            for i in range(30)
        ]
    ],
    "noised",
)


def test_the_mean_row_is_the_mean_of_the_trained_rows():
    policy = a_policy()
    start_bkspc(policy, "mean", NOISED, CLEAN)
    assert torch.equal(policy.bkspc_row, policy.lm.get_output_embeddings().weight.mean(0))


def test_each_deletion_starts_at_its_own_share():
    policy = a_policy(deletions=3)
    twice = [
        Trajectory(
            prompt=[1, 5],
            actions=[4 + i % 3, 9, 8, BKSPC + 1, 9, BKSPC, 7, 2],
            imitated=[True, False, False, True, False, True, True, True],
        )
        for i in range(30)
    ]
    noised = Corpus([twice], "noised")
    assert bkspc_shares(noised, BKSPC, 3) == [1 / 5, 1 / 5, 0]
    start_bkspc(policy, "noise", noised, CLEAN)
    hidden, _ = clean_states(policy, CLEAN)
    found = policy.preferences(hidden.float())[:, :-1].softmax(-1)[:, BKSPC:].mean(0)
    assert found.tolist() == pytest.approx([1 / 5, 1 / 5], abs=0.05)
    assert torch.equal(policy.bkspc_row[2], policy.lm.get_output_embeddings().weight.mean(0))


def test_without_backspaces_in_the_data_the_row_is_the_mean():
    policy = a_policy()
    start_bkspc(policy, "noise", CLEAN, CLEAN)
    assert torch.equal(policy.bkspc_row, policy.lm.get_output_embeddings().weight.mean(0))


def test_clean_states_have_a_live_token_and_an_expert_that_does_not_delete():
    """They are the prefixes of the repaired text that end after its first token, read here without the state tree."""
    policy = a_policy().eval()
    hidden, value = clean_states(policy, NOISED)
    (trajectory, *_), *_ = NOISED.draws
    tokens = torch.tensor([[*trajectory.prompt, trajectory.actions[0], 7]])
    with torch.no_grad():
        read = policy.encode(core.Inputs(token=tokens, position=torch.arange(4)[None]))[0, 2:]
    assert len(hidden) == len(value) == 2 * len(NOISED.draws[0])  # not after the wrong token
    assert hidden[:2].float() == pytest.approx(read, abs=1e-5)
    logits = policy.preferences(read).detach()
    assert value[:2].float() == pytest.approx(logits[:, :BKSPC].logsumexp(-1), abs=1e-5)
