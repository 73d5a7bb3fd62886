"""Noise of the kind ``model``: likely wrong tokens of a trained policy."""

import numpy as np
import pytest
import torch
from support.proposer import BKSPC, TOKENIZER, clean, proposer_folder

from sequencematch.core import Inputs
from sequencematch.data.noise import draw_wrong
from sequencematch.data.tokenizer import train_tokenizer
from sequencematch.errors import UserError
from sequencematch.model.build import load_policy
from sequencematch.model.likely_noise import model_noise
from sequencematch.seeding import generator

NEVER = {*TOKENIZER.special_ids.values(), BKSPC}


@pytest.fixture(scope="module")
def policy_folder(tmp_path_factory):
    return proposer_folder(tmp_path_factory.mktemp("policy"), unembedding=40)


def test_wrong_tokens_are_what_the_policy_finds_likely(policy_folder):
    policy, _ = load_policy(policy_folder)
    examples = [clean("12"), clean("-1 03", prompt="base 7"), clean("")]
    for example, w in zip(examples, model_noise(TOKENIZER, policy_folder)(examples), strict=True):
        assert w.shape == (len(example.completion), TOKENIZER.size)
        for position, true in enumerate(example.completion):
            # The state on its own: no batch, no padding, no tree.
            state = torch.tensor([example.prompt + example.completion[:position]])
            inputs = Inputs(
                token=state, position=torch.arange(state.shape[1])[None], end=torch.full_like(state, state.shape[1])
            )
            with torch.no_grad():
                logits = policy(inputs)[0, -1].double()
            struck = [*NEVER, true]
            logits[struck] = -torch.inf
            np.testing.assert_allclose(w[position], logits.softmax(0)[:-1], atol=1e-5)
            drawn = {draw_wrong(example.completion, w, position, generator("m", i)) for i in range(50)}
            assert not drawn & set(struck)
    assert max(w.max(axis=1)) > 2 / TOKENIZER.size  # far from uniform, or this would prove little


def test_a_policy_of_the_same_vocabulary_is_needed(policy_folder):
    with pytest.raises(UserError, match="--policy"):
        model_noise(TOKENIZER, None)
    larger = train_tokenizer(["abcdefghijklmnopqrstuvwxyz what is 12 - -3? Solution: "])
    with pytest.raises(UserError, match="different data"):
        model_noise(larger, policy_folder)
