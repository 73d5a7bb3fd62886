"""The attention entry point against recomputation without any mask, and the traps it keeps shut."""

import random

import pytest
import torch
from support.networks import BKSPC, random_row, random_trajectory, tiny_llama

from sequencematch.core import Inputs, Trajectory, algorithm_2, live_tokens, state_tree
from sequencematch.errors import UserError
from sequencematch.model import attention
from sequencematch.model.attention import (
    STATE_TREE,
    Blocks,
    Flex,
    Reordered,
    Whole,
    choose_kernel,
    hidden_states,
    use_state_tree,
)

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


# ---- the three kernels of our own implementation -----------------------------------------------------


def encoded(seed: int, longest: int = 40, rows: int = 3, trajectories: int = 2):
    """Inputs of state trees of data and rollout, of rows of different lengths."""
    rng = random.Random(seed)
    chosen = []
    for _ in range(rows):
        prompt = [1, *rng.choices(range(3, BKSPC), k=rng.randrange(9))]
        chosen.append([random_trajectory(rng, prompt, longest) for _ in range(trajectories)])
    return state_tree(chosen, BKSPC)[0]


def outputs_and_gradients(attend, inputs, heads=4, key_heads=2, dtype=torch.float32, device="cpu"):
    """What ``attend`` makes of random queries, keys and values, and the gradients; padding's queries left out."""
    torch.manual_seed(0)
    shape = (len(inputs.token), heads, inputs.token.shape[1], 16)
    tensors = [
        torch.randn(s[0], s[2], s[1], s[3], dtype=dtype, device=device).transpose(1, 2).requires_grad_()
        for s in (shape, *[(shape[0], key_heads, *shape[2:])] * 2)
    ]
    out = attend(*tensors)
    real = (inputs.end > 0).to(device)[:, :, None, None]
    upstream = torch.randn(out.shape, dtype=dtype, device=device)
    gradients = torch.autograd.grad((out * upstream * real).sum(), tensors)
    return [(out * real).detach(), *gradients]


class Attention(torch.nn.Module):
    """What the kernels ask of the layer that calls them."""

    num_key_value_groups = 2
    is_causal = True


def by(kernel):
    """The kernel's attention on tensors in the inputs' order, whatever its own."""

    def moved(tensor):
        order = kernel.order[:, None, :, None].expand(-1, tensor.shape[1], -1, tensor.shape[3])
        padding = (0, 0, 0, kernel.order.shape[1] - kernel.length)
        # As networks hand them over: a transposed view.
        moved = torch.nn.functional.pad(tensor, padding).gather(2, order)
        return moved.transpose(1, 2).contiguous().transpose(1, 2)

    def attend(*tensors):
        if not isinstance(kernel, Reordered):
            return kernel.attend(Attention(), *tensors, {"scaling": 0.3})
        out = kernel.attend(Attention(), *map(moved, tensors), {"scaling": 0.3})
        return kernel.restored(out.flatten(2)).unflatten(2, out.shape[2:])

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
    found = outputs_and_gradients(by(Blocks(inputs.end, size)), inputs, dtype=torch.float64)
    expected = outputs_and_gradients(by_definition(inputs.dense_mask()), inputs, dtype=torch.float64)
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


@pytest.mark.parametrize("size", [4, 16, 64])
@pytest.mark.parametrize("seed", range(3))
def test_the_block_mask_of_flex_says_what_the_dense_mask_says(size, seed):
    """Block map and mask function together, in the inputs' own order; and nothing is left without a key."""
    inputs = encoded(seed)
    rows, length = inputs.token.shape
    kernel = Flex(inputs.end, size)
    mask = kernel.block_mask
    n = kernel.order.shape[1]
    whole, partial = torch.zeros(2, rows, n // size, n // size, dtype=torch.bool)
    for kinds, counts, indices in (
        (partial, mask.kv_num_blocks, mask.kv_indices),
        (whole, mask.full_kv_num_blocks, mask.full_kv_indices),
    ):
        for b in range(rows):
            for i in range(n // size):
                kinds[b, i, indices[b, 0, i, : counts[b, 0, i]].long()] = True
    assert not (whole & partial).any()
    b, q, k = torch.meshgrid(torch.arange(rows), torch.arange(n), torch.arange(n), indexing="ij")
    whole, partial = (kinds.repeat_interleave(size, 1).repeat_interleave(size, 2) for kinds in (whole, partial))
    seen = whole | (partial & mask.mask_mod(b, 0, q, k))
    assert seen.any(-1).all()
    place = kernel.place
    of_inputs = torch.stack([seen[b][place[b]][:, place[b]] for b in range(rows)])
    assert torch.equal(of_inputs, inputs.dense_mask())
    hidden = torch.arange(rows * length).view(rows, length)
    assert torch.equal(kernel.restored(kernel.permuted(hidden)[..., None])[..., 0], hidden)


def test_live_nodes_first_leaves_most_blocks_whole():
    """A noised sequence: one node in six is dead, so that in push order no block of the triangle would be whole."""
    rng = random.Random(0)
    actions = [a for _ in range(400) for a in ([3, BKSPC, 4] if rng.random() < 0.2 else [4])]
    inputs, _ = state_tree([[Trajectory(prompt=[1], actions=actions, imitated=[True] * len(actions))]], BKSPC)
    mask = Flex(inputs.end, 16).block_mask
    whole, partial = mask.full_kv_num_blocks.sum().item(), mask.kv_num_blocks.sum().item()
    assert whole > 2 * partial
    in_push_order = attention.block_kinds(
        torch.arange(480)[None],
        torch.nn.functional.pad(inputs.end[:, :480], (0, max(0, 480 - inputs.end.shape[1]))),
        16,
    )[1].sum()
    assert in_push_order < whole / 10


@torch.no_grad()
def test_flex_in_a_network_gives_the_hidden_states_of_the_dense_mask(monkeypatch):
    """Order of nodes, padding and position ids; uncompiled, as there is none without CUDA."""
    inputs = encoded(2)
    expected = hidden_states(network("sdpa"), inputs)
    monkeypatch.setattr(attention, "choose_kernel", lambda inputs, dtype: Flex(inputs.end, 16))
    found = hidden_states(network(STATE_TREE), inputs)
    real = inputs.end > 0
    torch.testing.assert_close(found[real], expected[real], **TOLERANCE)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("key_heads", [4, 2])
def test_flex_compiled_attends_as_defined_forward_and_backward(key_heads):
    inputs = encoded(0, longest=300)
    cuda = inputs.to(torch.device("cuda"))
    found = outputs_and_gradients(by(Flex(cuda.end)), inputs, key_heads=key_heads, device="cuda")
    expected = outputs_and_gradients(by_definition(cuda.dense_mask()), inputs, key_heads=key_heads, device="cuda")
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


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


def test_memory_for_the_mask_is_linear_in_length():
    """What is kept from the forward to the backward pass, but for queries, keys, values and outputs."""
    kept = {}
    for length in (512, 2048):
        zeros = torch.zeros(1, length, dtype=torch.long)
        inputs = Inputs(token=zeros, position=zeros, end=torch.arange(1, length + 1)[None])
        sizes = []

        def pack(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            tensors = [torch.zeros(1, 2, length, 16, requires_grad=True) for _ in range(3)]
            by(choose_kernel(inputs, torch.float32))(*tensors)
        kept[length] = sum(sizes)
    assert kept[2048] == 4 * kept[512]


def test_a_family_that_drops_what_may_be_seen_fails_aloud():
    lm = network(STATE_TREE)
    inner = lm.model.layers[0].self_attn.forward
    lm.model.layers[0].self_attn.forward = lambda *a, visible=None, **options: inner(*a, **options)
    with pytest.raises(RuntimeError):
        hidden_states(lm, encoded(0))
