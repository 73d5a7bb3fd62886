"""Noise that goes on: what a policy writes after a wrong token, then its deletion."""

import numpy as np
import pytest
import torch

from sequencematch.core import Inputs, live_tokens
from sequencematch.data.examples import Example
from sequencematch.data.noise import KINDS, Mistake, Opening, noise_split
from sequencematch.data.tokenizer import train_tokenizer
from sequencematch.model.build import load_policy, new_policy, save_policy
from sequencematch.sampling.continued_noise import policy_continuations
from sequencematch.settings.model import Model

TOKENIZER = train_tokenizer(["In base 7, what is 12 - -3? Solution: ", "0123456789"])
BKSPC, EOS = TOKENIZER.bkspc, TOKENIZER.special_ids["eos"]
WRONG = TOKENIZER.id("5")
assert WRONG is not None


def clean(completion: str) -> Example:
    return Example(TOKENIZER.prompt("what is 12 - -3? "), TOKENIZER.completion(completion), 10, completion)


EXAMPLES = [clean(f"{n} {n}") for n in range(300)]  # several batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A policy whose network prefers few tokens, <eos> among them, depending on the text so far."""
    folder = tmp_path_factory.mktemp("policy")
    model = Model(layers=1, width=16, heads=2, context=64)
    policy = new_policy(model, TOKENIZER.size, TOKENIZER.special_ids, backspace=True, seed=0)
    with torch.no_grad():
        policy.lm.get_output_embeddings().weight.mul_(60)
        policy.lm.get_input_embeddings().weight.mul_(20)
    save_policy(policy, model, folder)
    return folder


def noised(folder, examples, run, bkspc=BKSPC):
    goes_on = policy_continuations(TOKENIZER, folder)
    columns = noise_split(examples, 0.3, 2, KINDS["task"](TOKENIZER, examples), bkspc, (0,), run, goes_on)
    return columns["actions"], columns["imitated"]


@pytest.mark.parametrize("run", [1.0, 3.0, "all"])
def test_what_was_written_is_deleted(folder, run):
    actions, imitated = noised(folder, EXAMPLES, run)
    longest = 0
    for item, (row, kept) in enumerate(zip(actions, imitated, strict=True)):
        assert live_tokens([], row, BKSPC) == EXAMPLES[item % 300].completion
        assert kept.count(False) == row.count(BKSPC) and row.index(EOS) == len(row) - 1
        written = 0
        for action, own in zip(row, kept, strict=True):  # wrong tokens in a row, then as many <bkspc> in a row
            assert (action == BKSPC) == (own and written > 0)
            longest = max(longest, written)
            written += -1 if action == BKSPC else not own
    assert longest == 1 if run == 1 else longest > 3


def test_the_same_data_whatever_is_noised_beside(folder):
    (all_actions, _), (few, _) = noised(folder, EXAMPLES, 3.0), noised(folder, EXAMPLES[:7], 3.0)
    assert few == all_actions[:7] + all_actions[300:307]


def test_a_mistake_goes_on_as_the_policy_writes(folder):
    """Token by token, against the policy's probabilities after the whole text: each is likely there."""
    policy, _ = load_policy(folder, backspace=False)
    openings = [Opening(e, Mistake(1, [WRONG], None), i) for i, e in enumerate(EXAMPLES[:100])]
    found = policy_continuations(TOKENIZER, folder)(openings)
    surprise, entropy, ended = [], [], 0
    for example, tokens in zip(EXAMPLES, found, strict=False):
        assert EOS not in tokens
        text = [*example.prompt, example.completion[0], WRONG, *tokens]
        assert len(text) <= policy.context
        ended += len(text) < policy.context  # it wrote <eos>
        text += [EOS] * (len(text) < policy.context)
        states = torch.tensor([text])
        with torch.no_grad():
            logits = policy(Inputs(token=states, position=torch.arange(len(text))[None]))[0, :, :-1]
        log_p = logits.double().log_softmax(-1)
        first = len(example.prompt) + 1
        surprise += [-log_p[place, text[place + 1]].item() for place in range(first, len(text) - 1)]
        entropy += [-(row.exp() * row).sum().item() for row in log_p[first:-1]]
    assert 0 < ended < 100
    spread = np.std(np.subtract(surprise, entropy)) / np.sqrt(len(surprise))
    assert abs(np.mean(surprise) - np.mean(entropy)) < 4 * spread < 0.3 < np.log(TOKENIZER.size) - np.mean(entropy)


def test_a_passage_has_no_end_to_go_on_to(folder):
    passage = Example(EXAMPLES[0].prompt, [WRONG] * 6, 0, "")
    (tokens,) = policy_continuations(TOKENIZER, folder)([Opening(passage, Mistake(2, [WRONG], None), 1)])
    assert len(tokens) <= 3
