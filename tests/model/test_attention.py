"""The attention entry point against recomputation without any mask, and the traps it keeps shut."""

import random

import pytest
import torch
from support.networks import BKSPC, random_row, random_trajectory, tiny_llama

from sequencematch.core import Trajectory, algorithm_2, live_tokens, state_tree
from sequencematch.errors import UserError
from sequencematch.model import attention
from sequencematch.model.attention import STATE_TREE, Blocks, Whole, choose_kernel, hidden_states, use_state_tree

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


def network(implementation):
    lm = tiny_llama(implementation="eager" if implementation == "eager" else "sdpa")
    if implementation == STATE_TREE:
        use_state_tree(lm)
    return lm


IMPLEMENTATIONS = ["sdpa", "eager", STATE_TREE]


@torch.no_grad()
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("encode", [encoded_tree, encoded_copies])
def test_every_state_is_what_its_live_tokens_give(implementation, encode):
    lm = network(implementation)
    inputs, states = encode()
    hidden = hidden_states(lm, inputs)
    torch.testing.assert_close(gathered(hidden, states), recomputed(lm, states), **TOLERANCE)


@pytest.mark.parametrize("implementation", ["flex_attention", "flash_attention_2"])
def test_other_implementations_are_refused_in_one_sentence(implementation):
    """A dense mask under flex_attention corrupts memory on a CPU: it must not be reached."""
    lm = tiny_llama()
    lm.config._attn_implementation = implementation
    inputs, _ = encoded_tree()
    with pytest.raises(UserError, match=f"'{implementation}'.*use 'sdpa' or 'eager'") as refusal:
        hidden_states(lm, inputs)
    assert "\n" not in str(refusal.value)


# ---- the kernels of our own implementation -----------------------------------------------------------


def encoded(seed: int, longest: int = 40, rows: int = 3, trajectories: int = 2):
    """Inputs of state trees of data and rollout, of rows of different lengths."""
    rng = random.Random(seed)
    chosen = []
    for _ in range(rows):
        prompt = [1, *rng.choices(range(3, BKSPC), k=rng.randrange(9))]
        chosen.append([random_trajectory(rng, prompt, longest) for _ in range(trajectories)])
    return state_tree(chosen, BKSPC)[0]


def outputs_and_gradients(attend, inputs, heads=4, key_heads=2):
    """What ``attend`` makes of random queries, keys and values, and the gradients; padding's queries left out."""
    torch.manual_seed(0)
    rows, length = inputs.token.shape
    tensors = [  # as networks hand them over: transposed views
        torch.randn(rows, length, n, 16, dtype=torch.float64).transpose(1, 2).requires_grad_()
        for n in (heads, key_heads, key_heads)
    ]
    out = attend(*tensors)
    real = (inputs.end > 0)[:, :, None, None]
    upstream = torch.randn(out.shape, dtype=torch.float64)
    gradients = torch.autograd.grad((out * upstream * real).sum(), tensors)
    return [(out * real).detach(), *gradients]


def by(blocks):
    """The attention of ``Blocks`` on tensors in the inputs' order."""

    def attend(*tensors):
        order = blocks.order[:, None, :, None]
        moved = (tensor.gather(2, order.expand_as(tensor)).transpose(1, 2).contiguous() for tensor in tensors)
        out = blocks.attend(None, *(tensor.transpose(1, 2) for tensor in moved), {"scaling": 0.3})
        return blocks.restored(out.flatten(2)).unflatten(2, out.shape[2:])

    return attend


def by_definition(mask):
    """Softmax over what the mask allows, written out."""

    def attend(query, key, value):
        key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], dim=1) for t in (key, value))
        scores = (query @ key.mT * 0.3).masked_fill(~mask[:, None], -torch.inf)
        return (scores.softmax(-1) @ value).transpose(1, 2)

    return attend


@pytest.mark.parametrize("causal", [5, 128])
@pytest.mark.parametrize("size", [4, 7, 16, 64, 500])
@pytest.mark.parametrize("seed", range(3))
def test_blocks_attend_as_defined(size, seed, causal, monkeypatch):
    monkeypatch.setattr(attention, "CAUSAL_BLOCK", causal)
    inputs = encoded(seed)
    found = outputs_and_gradients(by(Blocks(inputs.end, size)), inputs)
    expected = outputs_and_gradients(by_definition(inputs.dense_mask()), inputs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def pairs(blocks):
    """Pairs of query and key that the calls compute, and how many of them under a mask."""
    sizes = [
        (c.queries.stop - c.queries.start, c.keys.stop - c.keys.start if isinstance(c.keys, slice) else len(c.keys))
        for c in blocks.calls
    ]
    masked = [q * k for c, (q, k) in zip(blocks.calls, sizes, strict=True) if c.mask is not None]
    return sum(q * k for q, k in sizes), sum(masked)


def test_blocks_attend_without_a_mask_where_nothing_is_deleted():
    """Prompt and data are causal; the rollout is so too, and sees all of the prompt and nothing of the data."""
    row = [Trajectory(prompt=[3] * 16, actions=[4] * n, imitated=[True] * n) for n in (20, 30)]
    calls = Blocks(state_tree([row], BKSPC)[0].end, 8).calls
    assert [(c.queries, c.keys, c.causal, c.mask) for c in calls] == [
        (slice(0, 36), slice(0, 36), True, None),
        (slice(36, 66), slice(0, 16), False, None),
        (slice(36, 66), slice(36, 66), True, None),
    ]


def noised(length):
    """Data and rollout of so many tokens each, one action in six a slip that is taken back."""
    rng = random.Random(0)

    def actions():
        return [a for _ in range(length) for a in ([3, BKSPC, 4] if rng.random() < 0.2 else [4])]

    row = [Trajectory(prompt=[1] * 8, actions=taken, imitated=[True] * len(taken)) for taken in (actions(), actions())]
    return state_tree([row], BKSPC)[0]


def test_masks_of_blocks_are_linear_in_length_and_few():
    masked = {length: pairs(Blocks(noised(length).end, 16))[1] for length in (256, 1024)}
    assert masked[1024] < 5 * masked[256]
    computed, masked = pairs(Blocks(noised(1024).end, 16))
    assert masked < computed / 20


def test_what_is_chosen():
    """Causal without deletions whatever the length; one call where rows are short; blocks where they are long."""
    data = [[Trajectory(prompt=[1, 3], actions=[4] * n, imitated=[True] * n)] for n in (5, 9)]
    assert choose_kernel(state_tree(data, BKSPC)[0], torch.float32) == Whole(None)
    short, long = encoded(0), encoded(0, longest=400)
    assert choose_kernel(short, torch.float32).mask is not None
    assert isinstance(choose_kernel(long, torch.float32), Blocks)
    assert choose_kernel(algorithm_2([random_trajectory(random.Random(0))], BKSPC)[0], torch.float32).mask is not None


def test_causal_attention_is_the_tree_of_data_without_deletions():
    rows = [[Trajectory(prompt=[1, 3], actions=[4, 5, 6, 3][:n], imitated=[True] * n)] for n in (4, 2)]
    inputs, _ = state_tree(rows, BKSPC)
    found, expected = (hidden_states(network(kind), inputs) for kind in (STATE_TREE, "sdpa"))
    real = inputs.end > 0
    torch.testing.assert_close(found[real], expected[real], **TOLERANCE)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_of_a_network_through_blocks_are_those_of_the_dense_mask(monkeypatch, checkpointing):
    """Layers that are run again in the backward pass see what they saw."""
    monkeypatch.setattr(attention, "choose_kernel", lambda inputs, dtype: Blocks(inputs.end, 8))
    inputs = encoded(3)
    gradients = []
    for kind in (STATE_TREE, "sdpa"):
        lm = network(kind).train()
        if checkpointing and kind == STATE_TREE:
            lm.gradient_checkpointing_enable({"use_reentrant": False})
        hidden = hidden_states(lm, inputs)[inputs.end > 0]
        torch.manual_seed(0)
        (hidden * torch.randn_like(hidden)).sum().backward()
        gradients.append({name: p.grad for name, p in lm.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-3)


def test_a_family_that_drops_what_may_be_seen_fails_aloud():
    lm = network(STATE_TREE)
    inner = lm.model.layers[0].self_attn.forward
    lm.model.layers[0].self_attn.forward = lambda *a, visible=None, **options: inner(*a, **options)
    with pytest.raises(RuntimeError):
        hidden_states(lm, encoded(0))
