"""A deletion head is trained on its own network's candidates, and changes nothing but what lookahead keeps."""

import pytest
import torch
from safetensors.torch import load_file
from support.networks import tiny_policy
from support.tiny import next_logits

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.errors import UserError
from sequencematch.model.build import load_policy
from sequencematch.sampling.lookahead import FEW, WEIGHT
from sequencematch.training.deletion_head import choices, train_head

EOS = 2


def examples(policy, count=24):
    """Texts of the network's second and third choices, so that there is something to learn."""
    torch.manual_seed(0)
    rows = [[3 + (i * k) % (policy.bkspc - 3) for i in range(1, 3 + k % 5)] + [EOS] for k in range(1, count + 1)]
    return [Trajectory(prompt=[1, 3 + k % 5], actions=row, imitated=[True] * len(row)) for k, row in enumerate(rows)]


@pytest.fixture
def policy():
    policy = tiny_policy()
    policy.backspace = False
    return policy.eval()


def test_choices_are_those_of_passes_over_the_texts(policy):
    """Branches of a tree beside one pass for each candidate."""
    given = examples(policy)
    found, place = choices(policy, given, batch=5), 0

    def read(live):
        inputs, _ = core.state_tree([[Trajectory(prompt=live, actions=[], imitated=[])]], policy.bkspc)
        with torch.no_grad():
            hidden = policy.encode(inputs)[0, -1]
            return hidden, policy.preferences(hidden).log_softmax(-1)[: policy.bkspc]

    for example in given:
        for t, own in enumerate(example.actions):
            live = [*example.prompt, *example.actions[:t]]
            value, candidates = read(live)[1].topk(FEW)
            if own not in candidates.tolist():
                continue
            assert candidates[found.own[place]] == own
            for k, token in enumerate(candidates.tolist()):
                hidden, ahead = read([*live, token])
                expected = value[k] + (WEIGHT * ahead.max() if token != EOS else 0)
                torch.testing.assert_close(found.hidden[place, k], hidden, atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(found.value[place, k], expected, atol=1e-4, rtol=1e-4)
                assert found.judged[place, k] == (token != EOS)
            place += 1
    assert place == len(found.own) > 10


def test_a_head_learns_and_the_network_does_not_change(policy):
    given, before = examples(policy), {name: t.clone() for name, t in policy.state_dict().items()}
    without, first, *_, last = train_head(policy, given, given, seed=1)
    assert last["validation_loss"] < min(first["loss"], without["validation_loss"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items() if name in before)
    head = {name: tensor.clone() for name, tensor in policy.head.state_dict().items()}
    train_head(policy, given, given, seed=1)
    assert all(torch.equal(tensor, head[name]) for name, tensor in policy.head.state_dict().items())


def test_a_network_that_never_finds_the_examples_tokens_is_refused(policy):
    prompt = [1, 3]
    unlikely = int(next_logits(policy, prompt)[: policy.bkspc].argmin())
    given = [Trajectory(prompt=prompt, actions=[unlikely], imitated=[True])]
    with pytest.raises(UserError, match="more steps"):
        train_head(policy, given, given, seed=1)


@pytest.mark.slow
def test_the_network_of_the_method_is_that_of_mle(finetuned):
    networks = [load_file(finetuned(loss) / "lm.safetensors") for loss in ("mle", "head")]
    assert all(torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())
    policy, _ = load_policy(finetuned("head"))
    assert policy.head is not None and policy.head[2].weight.abs().sum() > 0
    assert load_policy(finetuned("mle"))[0].head is None
