"""A policy that keeps deleted tokens reads all actions as a plain causal network does."""

import random
from itertools import accumulate
from types import SimpleNamespace

import pytest
import torch
from support.networks import BKSPC, random_row, tiny_llama
from support.tiny import a_policy
from support.trained import trained_folder

from sequencematch import core
from sequencematch.errors import UserError
from sequencematch.evaluation.wrong_tokens import repair
from sequencematch.model.policy import Policy
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import sample
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.losses import LOSSES
from sequencematch.training.job import load_initial
from sequencematch.training.schedule import Stage

HISTORIES = ["keep", "rewind"]


def kept_policy(history, deletions=3):
    return a_policy(BKSPC, deletions=deletions, history=history).eval()


@torch.no_grad()
def plain(policy, trajectory):
    """log pi of the actions after one pass over prompt and actions: no tree, no padding, no mask of ours."""
    ids = torch.tensor([[*trajectory.prompt, *trajectory.actions]])
    lives = list(accumulate(core.growth(a, BKSPC) for a in ids[0].tolist()))
    position = torch.tensor([lives]) - 1 if policy.history == "rewind" else torch.arange(ids.numel())[None]
    table = torch.cat([policy.lm.get_input_embeddings().weight, policy.bkspc_input])
    mask = torch.zeros(ids.numel(), ids.numel()).masked_fill(torch.ones_like(ids.T @ ids).triu(1).bool(), -torch.inf)
    policy.lm.set_attn_implementation("eager")
    hidden = policy.lm.model(inputs_embeds=table[ids], position_ids=position, attention_mask=mask[None, None])
    policy.lm.set_attn_implementation("state_tree")
    first = len(trajectory.prompt) - 1
    logits = policy.preferences(hidden.last_hidden_state)[0, first:-1]
    for row, live in zip(logits, lives[first:], strict=False):
        row[BKSPC + live - len(trajectory.prompt) :] = -torch.inf
    return logits.log_softmax(-1).gather(1, torch.tensor(trajectory.actions)[:, None])[:, 0]


@pytest.mark.parametrize("trajectories", [1, 2])
@pytest.mark.parametrize("history", HISTORIES)
def test_states_are_those_of_a_plain_causal_pass_over_all_actions(history, trajectories):
    rng = random.Random(1)
    policy = kept_policy(history)
    rows = [random_row(rng, trajectories, deletions=3) for _ in range(12)]
    inputs, states = policy.tree(rows)
    with torch.no_grad():
        scores = policy.score(inputs, states)
    assert sum(a >= BKSPC for row in rows for t in row for a in t.actions) > 10
    for k, column in enumerate(zip(*rows, strict=True)):
        for b, trajectory in enumerate(column):
            if trajectory.actions:
                found = scores[k].log_policy[b, : len(trajectory.actions)]
                torch.testing.assert_close(found, plain(policy, trajectory), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", ["bc", "keep", "rewind"])
def test_how_deletions_are_read_is_set_where_bkspc_is_added_and_never_again(tmp_path, loss):
    def started(**learned):
        trained_folder(tmp_path, **learned)
        (tmp_path / "provenance.json").write_text('{"base_steps": 5, "steps": 5}')
        stage = Stage(loss, 0, 10, 5, 10)
        return load_initial(SimpleNamespace(gpus=0, initial=tmp_path), stage).policy

    assert started(backspace=False).history == LOSSES[loss].history
    for history in ("erase", *HISTORIES):
        if history == LOSSES[loss].history:
            assert started(history=history).history == history
        else:
            with pytest.raises(UserError, match=f"way \\({history}\\) than {loss} .*start from the base model"):
                started(history=history)


def test_positions_of_live_tokens_and_a_sliding_window_are_refused():
    network = tiny_llama()
    network.config.sliding_window = 8
    with pytest.raises(UserError, match="sliding window: choose keep"):
        Policy(network, backspace=True).keep("rewind")
    Policy(network, backspace=True).keep("keep")


def test_its_answers_to_noise_at_every_token_are_not_measured():
    assert repair(kept_policy("keep"), {"test": []}, "arithmetic", Evaluation(), None, 1, None)["corruptions"] == {}


def test_lookahead_is_refused_because_no_deletion_leads_back():
    with pytest.raises(UserError, match="lookahead does not fit a model that keeps deleted tokens"):
        sample(kept_policy("keep"), [[1]], Decoding(4, temperature=0, lookahead=0.75), [0], 1)
