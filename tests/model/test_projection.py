"""Values and logits without the logits' matrix: against its dense float64 form, in value, gradient and precision."""

from random import Random

import pytest
import torch
from support.networks import BKSPC, random_row, tiny_policy

from sequencematch import core
from sequencematch.model.projection import States, values_and_logits

N, A, D = 37, 50, 12


def problem(dtype=torch.float64, scale=1.0):
    """Hidden states, weight and bias, and (state, action) pairs: states with no action, one, and several."""
    torch.manual_seed(0)
    tensors = [(scale * torch.randn(*shape, dtype=torch.float64)).to(dtype) for shape in ((N, D), (A, D), (A,))]
    state = torch.randint(0, N, (60,)).sort().values
    return [t.requires_grad_() for t in tensors], state, torch.randint(0, A, (60,))


def dense(hidden, weight, bias, state, action):
    logits = hidden @ weight.T + bias
    return logits.logsumexp(-1), logits[state, action]


def with_gradients(function, tensors, *rest):
    """Values, logits, and the gradients of a loss in which each of them has its own weight."""
    outputs = function(*tensors, *rest)
    torch.manual_seed(1)
    weights = [torch.randn(len(o), dtype=torch.float64) for o in outputs]
    loss = sum((o * w.to(o.dtype)).sum() for o, w in zip(outputs, weights, strict=True))
    return [*(o.detach() for o in outputs), *torch.autograd.grad(loss, tensors)]


@pytest.mark.parametrize("chunk", [1, 5, 36, 37, 1000, None])
def test_it_is_the_dense_result_whatever_the_chunk(chunk):
    tensors, *pairs = problem()
    found = with_gradients(values_and_logits, tensors, *pairs, chunk)
    for ours, theirs in zip(found, with_gradients(dense, tensors, *pairs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_frozen_weight_gets_no_gradient_and_hidden_states_the_same():
    (hidden, weight, bias), *pairs = problem()
    expected = with_gradients(dense, [hidden, weight, bias], *pairs)[2]
    value, logit = values_and_logits(hidden, weight.detach(), None, *pairs)
    assert value.requires_grad and logit.requires_grad
    found = with_gradients(lambda h: values_and_logits(h, weight.detach(), bias.detach(), *pairs), [hidden])[2]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_errs_no_more_than_the_dense_form_of_the_same_precision(dtype):
    """Errors against float64 on the same numbers; the dense form's own is the measure; room for luck in float32."""
    tensors, *pairs = problem(dtype, scale=2)
    exact = [t.detach().double().requires_grad_() for t in tensors]
    truth = with_gradients(dense, exact, *pairs)
    ours = with_gradients(values_and_logits, tensors, *pairs)
    naive = with_gradients(dense, tensors, *pairs)

    def errors(results):
        return torch.tensor([(r.double() - t).norm() / t.norm() for r, t in zip(results, truth, strict=True)])

    assert ours[0].dtype == ours[1].dtype == torch.float32
    room = 1.0 if dtype == torch.bfloat16 else 1.5
    assert (errors(ours) <= room * errors(naive) + 1e-9).all()


def test_each_state_is_projected_once():
    rows = [random_row(Random(seed)) for seed in range(4)]
    inputs, batches = core.state_tree(rows, BKSPC)
    states = States.of(batches, inputs.token.shape[1])
    for k, batch in enumerate(batches):
        row = torch.arange(len(rows))[:, None] * inputs.token.shape[1]
        assert torch.equal(states.node[states.index[k]], batch.state + row)
        assert torch.equal(states.action[states.taken[k]], batch.action)
        assert torch.equal(states.state[states.taken[k]], states.index[k][:, :-1])
    assert states.node.unique().equal(states.node) and states.state.diff().min() >= 0
    inner = sum(len(row[0].prompt) - 1 for row in rows)  # the prompt's last token is s_0; those before are no states
    assert len(states.node) == (inputs.end > 0).sum() - inner


@pytest.mark.parametrize(("backspace", "deletions"), [(True, 1), (True, 3), (False, 1)])
@pytest.mark.parametrize("encode", ["state_tree", "algorithm_2"])
def test_the_policys_scores_are_the_cores_of_its_logits(backspace, deletions, encode):
    policy = tiny_policy(deletions)
    policy.backspace = backspace
    rows = [random_row(Random(seed), deletions=deletions) for seed in range(4)]
    if not backspace:
        rows = [
            [core.Trajectory(prompt=t.prompt, actions=a, imitated=[True] * len(a)) for t, a in without]
            for r in rows
            for without in [[(t, [x for x in t.actions if x != BKSPC]) for t in r]]
        ]
    if encode == "state_tree":
        inputs, batches = core.state_tree(rows, BKSPC)
        with_prompts = policy.score(inputs, [*batches, core.prompt_index(rows)])
        for alone, beside in zip(policy.score(inputs, batches), with_prompts, strict=False):
            torch.testing.assert_close(alone.value, beside.value)  # no token of a prompt can be deleted
    else:
        inputs, batch = core.algorithm_2([row[0] for row in rows], BKSPC)
        batches = [batch]
    results = []
    for scores in (policy.score(inputs, batches), [core.score(policy(inputs), b, deletions) for b in batches]):
        policy.zero_grad()
        sum(torch.where(s.taken, s.log_policy**2 + s.logit, 0.0).sum() + s.value.sum() for s in scores).backward()
        gradients = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
        results.append((scores, gradients))
    (ours, gradients), (theirs, expected) = results
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.value, its.value, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(mine.logit[its.taken], its.logit[its.taken], rtol=1e-5, atol=1e-5)
        assert mine.taken.equal(its.taken) and mine.imitated.equal(its.imitated)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-3)
