"""Tests whether a pretrained network does what the method needs, and up to which length, before any training.

Any causal language model of transformers may be named. Some do not follow a custom mask, position ids or a rewound
cache. Some change the logits after the last hidden state. Some compute something else in long texts than in short ones
(windows, chunks, rescaled positions). Some draw random numbers in training. None of this would cause an error message.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sequencematch.core import Trajectory, state_tree
from sequencematch.errors import UserError
from sequencematch.model.attention import ONE_CALL
from sequencematch.model.cache import StateCache
from sequencematch.model.policy import Policy
from sequencematch.store.hub import FIT
from sequencematch.store.untrusted_config import named_numbers

# Largest error of a logit, in standard deviations of all of them: rounding, not a token more or less. In bfloat16
# rounding alone gave 0.17 to 0.24 (SmolLM2-135M, in NF4 or not); a token too many gave 0.89 or more.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.45}
SHORT = 8  # tokens of the shortest text that is tried, and tried beyond each length at which something may change
LONGEST = 8192  # a text of more tokens is not tried: a network whose attention changes there is bounded there
# Parts of the names of settings that give a length at which a network may begin to compute something else.
LENGTHS = (
    *("window", "chunk", "block", "local", "span", "stride", "dilat", "sink", "sparse", "floor"),
    *("original_max", "max_seq", "seq_len", "context"),
)


def check_fitness(policy: Policy, source: str) -> None:
    """Bound the context of ``policy``, of the network ``source``, by the lengths at which it computes correctly.

    Texts with deleted tokens are read by the network alone, without the deleted tokens; as a state tree; and through a
    cache in which later tokens overwrite the deleted ones. All must give the same logits. Texts are as long as the
    lengths that the network's configuration names, and longer. Raises UserError if a short text fails.
    """
    proven, failure = 0, ""
    lengths = _lengths(policy)
    with _evaluating(policy):
        for length in lengths:
            if failure := _failure(policy, length):
                break
            proven = length + 1  # the cache's second row holds one more
        failure = _training_failure(policy, lengths[0]) if proven else failure
    if failure:
        raise UserError(
            f"the network of '{source}' ({policy.lm.config.model_type}) cannot be trained here ({failure}): choose one "
            f"that follows attention masks, position ids and a rewound cache, as {FIT}"
        )
    untried = [length for length in _named_lengths(policy) if length > LONGEST]
    policy.context = min([policy.context, *untried, *([proven] if proven <= lengths[-1] else [])])


def _lengths(policy: Policy) -> list[int]:
    """Lengths of the texts to try, ascending: short ones, and up to and beyond each length that the network names."""
    named = [length for length in _named_lengths(policy) if length <= LONGEST]
    # Beyond so many nodes, attention takes another kernel on a CPU.
    tried = {ONE_CALL + SHORT, *(length - 1 for length in named), *(length + SHORT for length in named)}
    longest = policy.context - 1  # the text in the next row is a token longer
    shortest = min(SHORT, longest)
    return sorted(length for length in {shortest, *tried} if shortest <= length <= longest)


def _named_lengths(policy: Policy) -> list[int]:
    """Lengths below the context at which the network may change its computation, by its configuration."""
    found = {
        number
        for name, number in named_numbers(policy.lm.config.to_dict())
        if any(part in name for part in LENGTHS) and isinstance(number, int) and 0 < number < policy.context
    }
    return sorted(found)


@contextmanager
def _evaluating(policy: Policy) -> Iterator[None]:
    """Evaluation mode, no gradients; modes and random states are as before afterwards."""
    training = policy.training
    policy.eval()
    devices = [policy.device] if policy.device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            yield
    finally:
        policy.train(training)


def _failure(policy: Policy, length: int) -> str:
    """What is wrong with the network at texts of ``length`` tokens. Empty if nothing is."""
    try:
        text, deleted = _text(policy, length)
        expected = _by_network(policy, text)
        found = {"a state tree": _by_tree(policy, text, deleted), "a rewound cache": _by_cache(policy, text, deleted)}
    # What networks raise that take no mask by position, no position ids, or no cache of ours.
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return " ".join(str(error).split())[:200] or type(error).__name__
    for way, logits in found.items():
        if not _close(policy, logits, expected[-len(logits) :]):
            return f"its logits after a deletion are not those of the text that is left, read by {way}"
    return ""


def _training_failure(policy: Policy, length: int) -> str:
    """What is wrong with the network in training mode. Empty if it computes the same as in evaluation mode."""
    text, deleted = _text(policy, length)
    expected = _by_tree(policy, text, deleted)
    policy.train()
    first, second = (_by_tree(policy, text, deleted) for _ in range(2))
    policy.eval()
    same = _close(policy, first, second) if policy.device.type == "cuda" else torch.equal(first, second)
    if not same:
        return "two passes over one text differ in training mode: it draws random numbers that no setting switches off"
    return "" if _close(policy, first, expected) else "it computes something else in training mode than in evaluation"


def _close(policy: Policy, found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() / expected.std() < TOLERANCE[policy.lm.dtype])


def _text(policy: Policy, length: int) -> tuple[list[int], int]:
    """A text of ``length`` tokens, and a token to be deleted. The first three ids are often special ones."""
    ordinary = max(1, policy.bkspc - 3)
    return [3 + (7 * i * i + 3 * i) % ordinary for i in range(length)], 3 + 1 % ordinary


def _by_network(policy: Policy, text: list[int]) -> Tensor:
    """The network's own logits [length, vocabulary]. A short text is read by its own attention."""
    lm, ours = policy.lm, policy.lm.config._attn_implementation
    switch = len(text) <= SHORT and lm._supports_attention_backend
    if switch:
        lm.set_attn_implementation("eager")
    try:
        return lm(input_ids=torch.tensor([text], device=policy.device), use_cache=False).logits[0].float()
    finally:
        if switch:
            lm.set_attn_implementation(ours)


def _by_tree(policy: Policy, text: list[int], deleted: int) -> Tensor:
    """Logits [length, vocabulary] at the live tokens, three deleted ones after some of them, none beyond the length."""
    actions: list[int] = []
    for place, token in enumerate(text[1:]):
        if place % max(3, len(text) // 8) == 1 and place + 3 < len(text):
            actions += [*[deleted] * 3, *[policy.bkspc] * 3]
        actions.append(token)
    inputs, _ = state_tree(
        [[Trajectory(prompt=text[:1], actions=actions, imitated=[True] * len(actions))]], policy.bkspc
    )
    assert inputs.end is not None
    live = (inputs.end[0] == inputs.token.shape[1]).nonzero()[:, 0]
    return policy(inputs.to(policy.device))[0, live, : policy.bkspc]


def _by_cache(policy: Policy, text: list[int], deleted: int) -> Tensor:
    """Logits [n, vocabulary] at the last n tokens, read one by one after all others, next to a row of another depth."""
    known = len(text) - min(len(text) // 2 + 1, SHORT + 2)
    cache, rows = StateCache(policy, rows=2, length=len(text) + 1), slice(0, 2)

    def push(tokens: list[int], first: tuple[int, int]) -> None:
        token, depth = (torch.tensor(values, device=policy.device) for values in (tokens, first))
        cache.push(rows, token.expand(2, -1), depth)

    push([*text[:known], deleted], (0, 0))  # the second row keeps what the first one deletes
    for place in range(known, len(text)):
        if place % 3 == 0:
            push([deleted], (place, place + 1))
        push([text[place]], (place, place + 1))
    places = torch.arange(known, len(text), device=policy.device)
    return cache.preferences(torch.zeros_like(places), places)[:, : policy.bkspc]
