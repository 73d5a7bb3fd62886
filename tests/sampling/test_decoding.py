"""From logits to actions: against transformers' own implementation, and at the edges of the draw."""

import itertools
import re

import numpy as np
import pytest
import torch
from transformers.generation import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from sequencematch.evaluation.completions import parse_decoding
from sequencematch.sampling.decoding import Decoding, action_probabilities, inverse_cdf
from sequencematch.settings.decoding_names import PLAIN, combined, without_backspace


def some_logits(n=64, actions=13):
    return 2 * torch.randn(n, actions, generator=torch.manual_seed(0))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [0, 1, 3, 50])
@pytest.mark.parametrize("top_p", [0.05, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("min_p", [0.0, 0.1, 0.5])
def test_decoding_is_that_of_transformers(temperature, top_k, top_p, min_p):
    logits = some_logits()
    at_prompt = torch.arange(64) % 2 == 0
    decoding = Decoding(1, temperature, top_p, top_k, bkspc_bias=0.7, min_p=min_p)
    probability = action_probabilities(logits, at_prompt[:, None], decoding)
    expected = logits.clone()
    expected[:, -1] += 0.7
    expected[at_prompt, -1] = -torch.inf
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    warpers += [MinPLogitsWarper(min_p)] if min_p else []
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


def test_a_procedure_is_what_its_names_say_together():
    procedure = parse_decoding("greedy+bkspc_bias=-2+perturbed_model=0.1+best_of=1.5", 9)
    assert procedure.decoding == Decoding(9, temperature=0.0, bkspc_bias=-2.0)
    assert (procedure.rate, procedure.kind, procedure.attempts, procedure.choice) == (0.1, "model", 1.5, "best_of")
    plain = parse_decoding("sampled", 9)
    assert (plain.rate, plain.kind, plain.attempts, plain.choice) == (0.0, "", 1.0, "")


def test_decodings_join_in_one_way():
    assert combined("sampled", "sampled") == "sampled"
    assert combined("perturbed=0.1", "sampled", "top_p=0.9") == combined("top_p=0.9", "perturbed=0.1")
    assert combined("top_p=0.9", "perturbed=0.1") == "top_p=0.9+perturbed=0.1"
    assert combined("greedy", "greedy") == "greedy"
    with pytest.raises(ValueError, match="does not go with"):
        combined("greedy", "temperature=0.5")
    assert without_backspace("greedy+bkspc_bias=-2+perturbed=0.1") == "greedy+perturbed=0.1"
    assert without_backspace("bkspc_masked") == without_backspace("surprise=1") == "sampled"


def test_rejection_is_what_an_imitator_of_noised_data_would_do():
    """Noised data are simulated, and how often the state after each token is answered by <bkspc> is counted."""
    eta, size, n = 0.5, 6, 400_000
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.ones(size))
    true = rng.choice(size, n, p=truth)
    drawn = rng.integers(size, size=n)
    noisy = (rng.random(n) < eta) & (drawn != true)  # a drawn token that is the true one is no mistake
    mistakes, pushes = np.bincount(drawn[noisy], minlength=size), np.bincount(true, minlength=size)
    answered = mistakes / (mistakes + pushes)
    # The imitator: draws, takes back, and draws again until it lets a token stand.
    stays = truth * (1 - answered)
    logits = torch.tensor(np.log([*truth, 0.3])).float()[None]
    probability = action_probabilities(logits, torch.tensor([[True]]), Decoding(1, rejection=eta))[0, :-1]
    np.testing.assert_allclose(probability, stays / stays.sum(), atol=3e-3)
    assert np.abs(probability - truth).max() > 0.02


def test_rejection_touches_tokens_alone_and_fades_with_eta():
    at_prompt = torch.zeros(64, 1).bool()
    plain, faint, strong = (
        action_probabilities(some_logits(), at_prompt, Decoding(1, rejection=eta)) for eta in (0, 1e-6, 0.2)
    )
    torch.testing.assert_close(faint, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(strong[:, -1], plain[:, -1])
    impossible = some_logits()
    impossible[:, 3] = -torch.inf
    probability = action_probabilities(impossible, at_prompt, Decoding(1, rejection=0.2))
    assert probability.isfinite().all() and not probability[:, 3].any()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nucleus", "'nucleus' is no decoding; known are: sampled, greedy"),
        ("top_p", "top_p= takes a number above 0 and below 1"),
        ("top_p=1", "top_p= takes a number above 0 and below 1"),
        ("rejection=nan", "rejection= takes a number"),
        ("temperature=0", "temperature= takes a number above 0"),
        ("bkspc_bias=-inf", "bkspc_bias= takes a number"),
        ("perturbed=0.10", "must be written 'perturbed=0.1'"),
        ("greedy=1", "'greedy=1' is no decoding"),
        ("best_of=1", "best_of= takes a number above 1"),
        ("surprise=inf", "surprise= takes a number"),
        ("greedy+sampled", "does not go with"),
        ("greedy+temperature=0.5", "'temperature=0.5' does not go with what is named before it"),
        ("bkspc_masked+bkspc_bias=1", "does not go with"),
        ("perturbed=0.1+perturbed_model=0.1", "does not go with"),
        ("best_of=2+majority=3", "does not go with"),
        ("lookahead=0.75", "lookahead= goes with greedy alone"),
        ("temperature=0.5+lookahead=0.75", "lookahead= goes with greedy alone"),
        ("greedy+memory+lookahead=0.75", "does not go with"),
        ("beams=2", "beams= goes with greedy alone"),
        ("greedy+beams=2.5", "beams= takes a whole number"),
        ("greedy+lookahead=0.75+beams=2", "does not go with"),
        ("greedy+beams=2+perturbed=0.1", "does not go with"),
        ("perturbed=0.1+top_p=0.9", "must be written 'top_p=0.9+perturbed=0.1'"),
    ],
)
def test_a_bad_name_is_one_sentence(name, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        parse_decoding(name, 1)
    assert str(caught.value).count("\n") == 0


EXTREMES = [
    *PLAIN,
    *(
        f"{kind}={value}"
        for kind in ("top_p", "min_p", "takeback", "takeback_any_ratio")
        for value in ("1e-9", "0.999")
    ),
]
EXTREMES += ["rejection=2e-9", "rejection=0.999"]
EXTREMES += [f"{kind}={value}" for kind in ("bkspc_bias", "surprise") for value in ("-9e8", "9e8")]


def test_from_every_decoding_that_is_accepted_actions_can_be_drawn():
    """Of two that can be joined, at the bounds of what they take, on logits of any size."""
    torch.manual_seed(0)
    logits = torch.cat([scale * torch.randn(8, 30) for scale in (1e-3, 1, 100, 1e4)])
    at_prompt = torch.arange(len(logits)) % 3 == 0
    surprise = torch.where(at_prompt, 0.0, torch.rand(len(logits)) * 100)
    accepted = 0
    for first, second in itertools.product(EXTREMES, repeat=2):
        try:
            procedure = parse_decoding(first if first == second else f"{first}+{second}", 10)
        except ValueError:
            continue
        accepted += 1
        found = action_probabilities(logits, at_prompt[:, None], procedure.decoding, surprise, surprise)
        assert found.isfinite().all() and torch.allclose(found.sum(-1), torch.ones(len(logits)), atol=1e-5), (
            first,
            second,
        )
        assert not found[at_prompt, -1].any()
    assert accepted > 60
