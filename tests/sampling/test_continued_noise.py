"""Noise that goes on: what a policy writes after a wrong token, then its deletion."""

import numpy as np
import pytest
import torch
from support.proposer import BKSPC, EOS, TOKENIZER, clean, proposer_folder

from sequencematch.core import Inputs, live_tokens
from sequencematch.data.examples import Example
from sequencematch.data.noise import KINDS, Mistake, Opening, noise_split
from sequencematch.model.build import load_policy
from sequencematch.sampling.continued_noise import policy_continuations

WRONG = TOKENIZER.id("5")
EXAMPLES = [clean(f"{n} {n}") for n in range(300)]  # several batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A policy whose network prefers few tokens, <eos> among them, depending on the text so far."""
    return proposer_folder(tmp_path_factory.mktemp("policy"), unembedding=60, embedding=20)


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
