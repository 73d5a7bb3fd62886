"""The sampler: against full recomputation, exact enumeration, and transformers' generate."""

from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from itertools import accumulate

import pytest
import torch
from support.tiny import (
    BOS,
    EOS,
    PAD,
    POPPING,
    a_policy,
    chi_square_p,
    enumerated,
    next_logits,
    randomised,
    recomputed,
    some_prompts,
)
from transformers import GPT2Config, GPT2LMHeadModel

from sequencematch import core
from sequencematch.errors import UserError
from sequencematch.model.policy import Policy
from sequencematch.sampling.decoding import action_probabilities, inverse_cdf, too_many
from sequencematch.sampling.lookahead import FEW
from sequencematch.sampling.rollout import Decoding, Perturbation, sample
from sequencematch.seeding import uniforms


def eager_policy():
    policy = a_policy()
    policy.lm.set_attn_implementation("eager")
    return policy


def gpt2_policy():
    config = GPT2Config(
        vocab_size=12, n_embd=32, n_layer=2, n_head=2, n_positions=48, bos_token_id=BOS, eos_token_id=EOS
    )
    return randomised(Policy(GPT2LMHeadModel(config), True))


@pytest.fixture(scope="module")
def policy():
    return a_policy()


# ---- against full recomputation ---------------------------------------------------------------------


BUILDS = {
    "plain": a_policy,
    "several deletions": partial(a_policy, deletions=3),
    "eager": eager_policy,
    "gpt2": gpt2_policy,
    "keep": partial(a_policy, deletions=3, history="keep"),
    "rewind": partial(a_policy, history="rewind"),
}


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("perturbed", [False, True])
def test_cached_states_equal_full_recomputation(name, perturbed):
    policy, prompts = BUILDS[name](), some_prompts(40)
    perturbation = Perturbation(0.5, [range(3, 12)] * 40) if perturbed else None
    rollouts, counts = sample(policy, prompts, POPPING, range(40), 7, perturbation)
    assert counts.pops > 20  # or the test says nothing about rewinding
    expected, _ = recomputed(policy, prompts, rollouts)
    for row, rollout in zip(expected, rollouts, strict=True):
        sampled = torch.tensor(rollout.log_policy)
        torch.testing.assert_close(sampled, row[: len(sampled)], atol=1e-5, rtol=0)


def test_greedy_without_backspace_is_transformers_generate():
    policy, prompts = a_policy(backspace=False, seed=3), some_prompts(30)
    rollouts, _ = sample(policy, prompts, Decoding(12, temperature=0), range(30), 8)
    for prompt, rollout in zip(prompts, rollouts, strict=True):
        ids = torch.tensor([prompt])
        output = policy.lm.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12, pad_token_id=PAD
        )
        assert rollout.actions == output[0, len(prompt) :].tolist()
    assert {r.finished for r in rollouts} == {True, False}


def looped(policy, prompt, begun, decoding, stream):
    """The plain loop: a forward pass over the whole live text before every action."""
    uniform = uniforms([stream], decoding.max_actions)[0]
    live, actions, deleted = list(begun), [], defaultdict(list)
    while len(actions) < decoding.max_actions and EOS not in live:
        logits = next_logits(policy, [*prompt, *live])[None]
        logits[0, deleted[tuple(live)]] = -torch.inf
        ruled_out = too_many(torch.tensor([len(live)]), policy.deletions)
        probability = action_probabilities(logits, ruled_out, decoding)
        action = int(inverse_cdf(probability, torch.tensor([uniform[len(actions)]]).double()))
        actions.append(action)
        if action >= policy.bkspc:
            left = len(live) + core.growth(action, policy.bkspc)
            live, last = live[:left], live[left]
            deleted[tuple(live)] += [last] * decoding.memory
        else:
            live = [*live, action]
    return actions


@pytest.mark.parametrize("deletions", [1, 3])
@pytest.mark.parametrize(("memory", "temperature"), [(False, 1.0), (True, 1.0), (True, 0.0)])
def test_actions_are_those_of_a_plain_loop(memory, temperature, deletions):
    """What was begun is live and may be deleted; with memory, no deleted token is written at its place again."""
    policy, prompts = a_policy(deletions=deletions), some_prompts(30)
    decoding = Decoding(24, temperature, bkspc_bias=3.0, memory=memory)
    begun = [[3 + k % 9] * (k % 4) for k in range(30)]
    rollouts, counts = sample(policy, prompts, decoding, range(30), 7, begun=begun)
    for k, rollout in enumerate(rollouts):
        assert rollout.actions == looped(policy, prompts[k], begun[k], decoding, k)
        assert len(rollout.log_policy) == len(rollout.actions) and rollout.finished == (rollout.actions[-1] == EOS)
    assert counts.pushes + counts.pops == sum(len(r.actions) for r in rollouts)
    if not memory:
        depth = [min(accumulate(core.growth(a, policy.bkspc) for a in r.actions)) for r in rollouts]
        assert sum(d < 0 for d in depth) > 10  # some of what was begun was deleted
        assert {rollout.finished for rollout in rollouts} == {True, False}
    elif not temperature:
        forgetful, _ = sample(policy, prompts, replace(decoding, memory=False), range(30), 7, begun=begun)
        assert sum(r.finished for r in forgetful) < sum(r.finished for r in rollouts)


def with_the_best_continuations(policy, prompt, weight, longest):
    """Live tokens, each the best of all the likeliest few, from forward passes over whole texts."""

    def log_policy(live):
        logits = next_logits(policy, [*prompt, *live])
        return (logits if live else logits[: policy.bkspc]).log_softmax(-1)[: policy.bkspc]

    live = []
    while EOS not in live and len(live) < longest:
        value = {}
        for token in (now := log_policy(live)).topk(FEW).indices.tolist():
            ahead = 0.0 if token == EOS else log_policy([*live, token]).max()
            value[token] = float(now[token] + weight * ahead)
        live.append(max(value, key=value.__getitem__))
    return live


@pytest.mark.parametrize("backspace", [False, True])
@pytest.mark.parametrize("perturbed", [False, True])
def test_lookahead_finds_the_best_continuations(backspace, perturbed):
    policy, prompts, decoding = a_policy(backspace=backspace), some_prompts(30), Decoding(30, 0.0, lookahead=0.75)
    perturbation = Perturbation(0.1, [range(3, 12)] * 30) if perturbed else None
    rollouts, counts = sample(policy, prompts, decoding, range(30), 7, perturbation)
    assert counts.pops > 30 and (perturbed or counts.pops < counts.pushes / 2)
    ended = [k for k, rollout in enumerate(rollouts) if rollout.finished]
    assert len(ended) > 10
    found = {k: core.live_tokens([], rollouts[k].actions, policy.bkspc) for k in ended}
    best = {k: with_the_best_continuations(policy, prompts[k], 0.75, 30) for k in ended}
    assert sum(found[k] == best[k] for k in ended) >= len(ended) * (0.8 if perturbed else 1)
    greedy, _ = sample(policy, prompts, Decoding(30, 0.0), range(30), 7)
    assert any(found[k] != greedy[k].actions for k in ended)


# ---- the distribution -------------------------------------------------------------------------------


@pytest.mark.parametrize("deletions", [1, 2])
def test_rollouts_follow_the_exact_distribution_over_action_sequences(deletions):
    policy, prompt, n = a_policy(vocabulary=4, seed=1, deletions=deletions), [BOS, 3], 15_000
    table = enumerated(policy, prompt, Decoding(4, bkspc_bias=3))
    assert sum(table.values()) == pytest.approx(1, abs=1e-9)
    rollouts, counts = sample(policy, [prompt] * n, Decoding(4, bkspc_bias=3), range(n), 1000)
    assert counts.pops > n / 4
    observed = Counter(tuple(r.actions) for r in rollouts)
    assert set(observed) <= set(table)
    assert chi_square_p(observed, table) > 1e-3
    # The test has power: a small shift of one logit, or of temperature, is found out.
    for wrong in (Decoding(4, bkspc_bias=3.2), Decoding(4, temperature=1.1, bkspc_bias=3)):
        assert chi_square_p(observed, enumerated(policy, prompt, wrong)) < 1e-6


# ---- independence, bounds, boundaries ---------------------------------------------------------------


def test_rollouts_do_not_depend_on_the_batch(policy):
    prompts, streams = some_prompts(30), [7 * k + 1 for k in range(30)]
    alone, _ = sample(policy, prompts, POPPING, streams, 1)
    for batch in (3, 64):
        together, _ = sample(policy, prompts, POPPING, streams, batch)
        assert [r.actions for r in together] == [r.actions for r in alone]
    reverse, _ = sample(policy, prompts[::-1], POPPING, streams[::-1], 16)
    assert [r.actions for r in reverse[::-1]] == [r.actions for r in alone]
    other, _ = sample(policy, prompts, POPPING, range(100, 130), 64)
    assert [r.actions for r in other] != [r.actions for r in alone]


def test_a_prompt_that_does_not_fit_is_refused_before_any_work(policy):
    prompts = [[BOS, 3], [BOS, *[3] * 30]]
    sample(policy, prompts, Decoding(17), range(2), 2)  # 31 + 17 tokens: just fits
    with pytest.raises(UserError, match=r"prompt 1 \(31 tokens\).*\(18\).*48 tokens"):
        sample(policy, prompts, Decoding(18), range(2), 2)
    with pytest.raises(ValueError, match="at least one prompt token"):
        sample(policy, [[]], Decoding(4), range(1), 1)
    with pytest.raises(ValueError, match="2 prompts need as many streams"):
        sample(policy, prompts, Decoding(4), range(3), 2)
    with pytest.raises(ValueError, match="2 prompts need as many beginnings"):
        sample(policy, prompts, Decoding(4), range(2), 2, begun=[[]])
    with pytest.raises(ValueError, match="no <bkspc>"):
        sample(policy, prompts, Decoding(4), range(2), 2, begun=[[3], [3, policy.bkspc]])
    with pytest.raises(UserError, match=r"prompt 1 \(32 tokens\)"):
        sample(policy, prompts, Decoding(17), range(2), 2, begun=[[], [3]])
    assert sample(policy, [], Decoding(4), [], 4)[0] == []


def test_a_diverged_policy_is_named():
    policy = a_policy()
    with torch.no_grad():
        policy.bkspc_row[0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        sample(policy, some_prompts(3), Decoding(4), range(3), 2)


# ---- work done --------------------------------------------------------------------------------------


def counted(policy, prompts, batch, decoding):
    """Rollouts, counts, and the shape [rows, length] of every forward pass the network really made."""
    shapes = []
    hook = policy.lm.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        rollouts, counts = sample(policy, prompts, decoding, range(len(prompts)), batch)
    finally:
        hook.remove()
    return rollouts, counts, shapes


@pytest.mark.parametrize("batch", [1, 8, 100])
def test_pops_cost_no_forward_pass(policy, batch):
    prompts = some_prompts(30)
    rollouts, counts, shapes = counted(policy, prompts, batch, POPPING)
    decoding = [rows for rows, length in shapes if length == 1]  # every prompt has two tokens or more
    assert (len(decoding), sum(decoding)) == (counts.forwards, counts.tokens)
    assert len(shapes) - len(decoding) == counts.prefills
    actions = [a for r in rollouts for a in r.actions]
    assert counts.pops == actions.count(policy.bkspc) > 60
    assert counts.pushes == len(actions) - counts.pops
    assert counts.tokens == counts.pushes - sum(r.actions[-1] != policy.bkspc for r in rollouts)
    if batch >= len(prompts):  # no row waits for another: as many passes as the row with most pushes needs
        assert counts.forwards == max(sum(a != policy.bkspc for a in r.actions[:-1]) for r in rollouts)


def test_waiting_prompts_replace_finished_rows_several_at_a_time(policy):
    rollouts, counts, shapes = counted(policy, some_prompts(100), 16, Decoding(20))
    prefilled = [rows for rows, length in shapes if length > 1]
    assert sum(prefilled) == 100 and prefilled[0] == 16
    assert min(prefilled[:-1]) >= 4  # a quarter of the batch, save for the last ones waiting
    assert max(rows for rows, _ in shapes) == 16
    one_after_another = sum(max(len(r.actions) for r in rollouts[i : i + 16]) for i in range(0, 100, 16))
    assert counts.forwards < 0.8 * one_after_another


# ---- the policy is left as it was found -------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("training", [True, False])
def test_training_mode_and_checkpointing_are_off_during_rollouts_and_restored(training):
    policy, prompts = a_policy().train(training), some_prompts(10)
    plain, _ = sample(policy, prompts, Decoding(10), range(10), 4)
    policy.lm.gradient_checkpointing_enable({"use_reentrant": False})
    during, layers = [], policy.lm.get_decoder().layers
    hook = layers[0].register_forward_pre_hook(
        lambda layer, _: during.append((layer.training, layer.gradient_checkpointing))
    )
    assert sample(policy, prompts, Decoding(10), range(10), 4)[0] == plain
    hook.remove()
    assert set(during) == {(False, False)}
    with pytest.raises(IndexError):  # restored after a failure, too
        sample(policy, [[BOS, 99]], Decoding(10), range(1), 4)
    assert all(m.training == training for m in policy.modules())
    assert all(layer.gradient_checkpointing for layer in layers)
