"""The attention entry point against recomputation without any mask, and the traps it keeps shut."""

import random

import pytest
import torch
from conftest import BKSPC, random_row, random_trajectory, tiny_llama

from sequencematch.attention import hidden_states
from sequencematch.core import algorithm_2, live_tokens, state_tree
from sequencematch.errors import UserError

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}  # hidden states are of size 1


def encoded_tree():
    """Inputs of a batch of state trees (data and rollout), with each state's position and live tokens."""
    rng = random.Random(5)
    rows = [random_row(rng) for _ in range(3)]
    inputs, batches = state_tree(rows, BKSPC)
    return inputs, [entry for k, batch in enumerate(batches) for entry in states_of(batch, [row[k] for row in rows])]


def encoded_copies():
    """The same for Algorithm 2, whose position ids repeat even on a batch of one."""
    rng = random.Random(5)
    rows = [random_trajectory(rng) for _ in range(3)]
    inputs, batch = algorithm_2(rows, BKSPC)
    return inputs, list(states_of(batch, rows))


def states_of(batch, rows):
    for b, row in enumerate(rows):
        for t in range(len(row.actions) + 1):
            yield b, batch.state[b, t].item(), [*row.prompt, *live_tokens(row.prompt, row.actions[:t], BKSPC)]


def recomputed(lm, states):
    """The hidden state of each state from its live tokens alone: one plain forward each, no mask, no positions."""
    decoder = lm.get_decoder()
    return torch.stack([decoder(input_ids=torch.tensor([live])).last_hidden_state[0, -1] for *_, live in states])


def gathered(hidden, states):
    return torch.stack([hidden[b, position] for b, position, _ in states])


def through_the_entry_point(lm, inputs):
    return hidden_states(lm, inputs.token, inputs.position, inputs.dense_mask())


def largest_error(lm, hidden, states):
    return (gathered(hidden, states) - recomputed(lm, states)).abs().max()


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("encode", [encoded_tree, encoded_copies])
def test_every_state_is_what_its_live_tokens_give(implementation, encode):
    lm = tiny_llama(implementation=implementation)
    inputs, states = encode()
    hidden = through_the_entry_point(lm, inputs)
    torch.testing.assert_close(gathered(hidden, states), recomputed(lm, states), **TOLERANCE)


@torch.no_grad()
def test_trap_eager_with_a_bool_mask_is_silently_wrong():
    """transformers adds the bool mask to the scores as 0 and 1: nothing is masked out."""
    lm = tiny_llama(implementation="eager")
    inputs, states = encoded_tree()
    trapped = lm.get_decoder()(
        input_ids=inputs.token, position_ids=inputs.position, attention_mask=inputs.dense_mask()[:, None]
    ).last_hidden_state
    assert largest_error(lm, trapped, states) > 0.1
    assert largest_error(lm, through_the_entry_point(lm, inputs), states) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_trap_repeating_positions_without_a_mask_are_taken_for_packing(implementation):
    """Without a mask, and no cache, one expects causal attention; a position that steps back starts a new sequence."""
    lm = tiny_llama(implementation=implementation)
    token = torch.tensor([[1, 3, 4, 5, 6, 7]])
    position = torch.tensor([[0, 1, 2, 1, 2, 3]])
    causal = torch.ones(1, 6, 6).tril().bool()
    ours = hidden_states(lm, token, position, causal)
    trapped = lm.get_decoder()(input_ids=token, position_ids=position, use_cache=False).last_hidden_state
    torch.testing.assert_close(trapped[:, :3], ours[:, :3], **TOLERANCE)
    assert (trapped[:, 3:] - ours[:, 3:]).abs().amax(-1).min() > 0.1

    # With the mask of a tree whose positions repeat, ours gives every state right; no mask does not.
    inputs, states = encoded_tree()
    trapped = lm.get_decoder()(input_ids=inputs.token, position_ids=inputs.position, use_cache=False).last_hidden_state
    assert largest_error(lm, trapped, states) > 0.1
    assert largest_error(lm, through_the_entry_point(lm, inputs), states) < 1e-4


@pytest.mark.parametrize("implementation", ["flex_attention", "flash_attention_2"])
def test_trap_other_implementations_are_refused_in_one_sentence(implementation):
    """A dense mask under flex_attention corrupts memory on a CPU: it must not be reached."""
    lm = tiny_llama()
    lm.config._attn_implementation = implementation
    inputs, _ = encoded_tree()
    with pytest.raises(UserError, match=f"'{implementation}'.*use 'sdpa' or 'eager'") as refusal:
        through_the_entry_point(lm, inputs)
    assert "\n" not in str(refusal.value)
