"""From logits to actions: against transformers' own implementation, and at the edges of the draw."""

import numpy as np
import pytest
import torch
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from sequencematch.decoding import Decoding, action_probabilities, inverse_cdf


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [0, 1, 3, 50])
@pytest.mark.parametrize("top_p", [0.05, 0.6, 0.95, 1.0])
def test_decoding_is_that_of_transformers(temperature, top_k, top_p):
    logits = 2 * torch.randn(64, 13, generator=torch.manual_seed(0))
    at_prompt = torch.arange(64) % 2 == 0
    decoding = Decoding(1, temperature, top_p, top_k, bkspc_bias=0.7)
    probability = action_probabilities(logits, at_prompt, decoding)
    expected = logits.clone()
    expected[:, -1] += 0.7
    expected[at_prompt, -1] = -torch.inf
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    for warper in warpers:
        expected = warper(None, expected)
    torch.testing.assert_close(probability, expected.softmax(-1), atol=1e-6, rtol=1e-5)
    assert not probability[at_prompt, -1].any()


def test_draws_invert_the_cumulated_distribution():
    probability = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]])
    below_one = float(np.nextafter(np.float32(1), np.float32(0)))
    uniform = [0.0, 0.2499, 0.25, 0.7499, 0.75, below_one]
    drawn = inverse_cdf(probability.repeat(6, 1), torch.tensor(uniform, dtype=torch.float64))
    assert drawn.tolist() == [1, 1, 3, 3, 4, 4]
