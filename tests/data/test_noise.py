"""Noise: mistakes that are always repaired, at the stated rate, from the stated distribution."""

import json
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from support.experiment import run
from support.proposer import BKSPC, TOKENIZER, clean

from sequencematch.core import live_tokens
from sequencematch.data.examples import Example
from sequencematch.data.noise import KINDS, draw_mistakes, draw_wrong, noise_split, with_mistakes
from sequencematch.data.tokenizer import train_tokenizer
from sequencematch.seeding import generator
from sequencematch.settings.noise import Noise
from sequencematch.store.datasets import load

SPECIALS = set(TOKENIZER.special_ids.values())
P_VALUE = 1e-4  # the streams are fixed: a test that passes once passes always
TRAIN = [clean(text) for text in ("11", "1 2", "-123", "10", "111")]


def weights(kind: str):
    return KINDS[kind](TOKENIZER, TRAIN)


def wrong_tokens(kind: str, example: Example, position: int, count: int = 2000) -> list[int]:
    """Independent draws of the wrong token at one position."""
    (w,) = weights(kind)([example])
    return [draw_wrong(example.completion, w, position, generator("draw", i)) for i in range(count)]


# ---- injection ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 0.02, 0.2, 0.6])
def test_rate_of_noise_is_eta_at_every_position(eta):
    trials = 3000
    noisings = (draw_mistakes([3, 4, 5, 2], eta, lambda *_: 9, generator("rate", i)) for i in range(trials))
    counts = Counter(mistake.position for mistakes in noisings for mistake in mistakes)
    for position in range(4):
        assert stats.binomtest(counts[position], trials, eta).pvalue > P_VALUE


@pytest.mark.parametrize("run", [1.0, 3.0, "all"])
def test_a_mistake_is_as_long_as_the_setting_says(run):
    completion, lengths = [3, 4, 5, 6, 2], []
    for i in range(2000):
        mistakes = draw_mistakes(completion, 0.5, lambda position, rng: 10 + position, generator("run", i), run)
        for mistake in mistakes:
            first, length = mistake.position, len(mistake.wrong)
            assert mistake.wrong == list(range(10 + first, 10 + first + length))  # each is wrong at a place of its own
            assert length <= len(completion) - first and (run != "all" or length == len(completion) - first)
            lengths += [length] * (first == 0)
        actions, imitated = with_mistakes(completion, mistakes, BKSPC, deletions=1 + i % 3)
        assert live_tokens([1], actions, BKSPC) == completion
        assert max(actions) <= BKSPC + i % 3
        assert sum(a >= BKSPC for a in actions) == sum(-(-len(m.wrong) // (1 + i % 3)) for m in mistakes)
        wrong = [token for mistake in mistakes for token in mistake.wrong]
        assert [a for a, kept in zip(actions, imitated, strict=True) if not kept] == wrong
    if run != "all":
        cut = [min(n, 5) for n in np.random.default_rng(0).geometric(1 / run, 10_000)]
        assert np.mean(lengths) == pytest.approx(np.mean(cut), abs=0.15)


def test_no_noise_where_only_the_true_token_is_left():
    example = clean("1")
    only = np.zeros((2, TOKENIZER.size))
    only[:, example.completion[0]] = 1
    assert draw_wrong(example.completion, only, 0, generator(0)) is None
    assert draw_mistakes([3, 4], 0.99, lambda *_: None, generator(0)) == []
    assert draw_wrong(example.completion, only, 1, generator(0)) == example.completion[0]


# ---- kinds -------------------------------------------------------------------------------------------


def assert_drawn_as(draws: list[int], expected: dict[int, float]) -> None:
    """The draws fall on the expected tokens alone, as often as expected (chi-square)."""
    counts = Counter(draws)
    assert set(counts) <= set(expected)
    if len(expected) == 1:
        return
    observed = np.array([counts[token] for token in expected])
    share = np.array(list(expected.values()))
    assert stats.chisquare(observed, share / share.sum() * len(draws)).pvalue > P_VALUE


@pytest.mark.parametrize("base", [2, 3, 7, 10])
def test_task_noise_is_a_digit_below_the_base(base):
    example = clean("-10", base=base)  # a sign, then digits, then <eos>
    digits = {TOKENIZER.id(str(digit)) for digit in range(base)}
    for position, true in enumerate(example.completion):
        assert_drawn_as(wrong_tokens("task", example, position), dict.fromkeys(digits - {true}, 1))


def test_random_noise_is_any_token_but_special_ones():
    example = clean("3")
    vocabulary = set(range(TOKENIZER.size)) - SPECIALS
    assert_drawn_as(wrong_tokens("random", example, 0), dict.fromkeys(vocabulary - {example.completion[0]}, 1))
    assert_drawn_as(wrong_tokens("random", example, 1), dict.fromkeys(vocabulary, 1))


def test_unigram_noise_is_as_frequent_as_in_training():
    counts = Counter(TOKENIZER.encode("11" + "1 2" + "-123" + "10" + "111"))
    example = clean("1")
    assert_drawn_as(wrong_tokens("unigram", example, 1), counts)
    del counts[TOKENIZER.id("1")]
    assert_drawn_as(wrong_tokens("unigram", example, 0), counts)


# ---- splits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_noised_split(kind):
    examples = [clean(str(n), base=n % 9 + 2) for n in range(700)]  # several batches
    columns = noise_split(examples, 0.5, 3, weights(kind), BKSPC, (0, kind))
    assert columns["example"] == list(range(700)) * 3
    assert columns["draw"] == [0] * 700 + [1] * 700 + [2] * 700
    for item, prompt, actions, imitated in zip(
        columns["example"], columns["prompt"], columns["actions"], columns["imitated"], strict=True
    ):
        assert prompt == examples[item].prompt
        assert live_tokens(prompt, actions, BKSPC) == examples[item].completion
        for t, kept in enumerate(imitated):
            if not kept:  # [wrong, <bkspc>, true]
                assert actions[t] != actions[t + 2]
                assert actions[t] not in SPECIALS | {BKSPC}
                assert actions[t + 1] == BKSPC
        assert imitated.count(False) == actions.count(BKSPC)
    draws = [columns["actions"][d * 700 : (d + 1) * 700] for d in range(3)]
    assert draws[0] != draws[1] != draws[2] != draws[0]


# ---- the commands ------------------------------------------------------------------------------------


def test_from_questions_to_noised_actions(inputs, tmp_path):
    noised = {"examples": inputs / "examples", "tokenizer": inputs / "tokenizer", "seed": 1}
    run("inject_noise", **noised, eta=0.2, output=tmp_path / "again")
    folders = (inputs / "noised-0.2", tmp_path / "again", inputs / "noised-0")
    (a, facts), (b, _), (without, _) = map(load, folders)
    assert {name: split.to_dict() for name, split in a.items()} == {name: split.to_dict() for name, split in b.items()}
    assert {name: len(split) for name, split in a.items()} == {"train": 200 * Noise().draws, "validation": 40}
    assert {name: len(split) for name, split in without.items()} == {"train": 200, "validation": 40}
    assert all(all(imitated) for imitated in without["train"]["imitated"])
    assert facts["injected"]["train"] == sum(imitated.count(False) for imitated in a["train"]["imitated"]) > 0
    assert facts["examples_digest"] == json.loads((inputs / "examples/provenance.json").read_text())["digest"]

    for options, sentence in (
        ({"eta": 1}, "--eta 1: the noise level must lie in [0, 1)"),
        ({"eta": 0.1, "rest": "model"}, "needs a trained policy"),
    ):
        failed = run("inject_noise", **noised, **options, output=tmp_path / "refused", check=False)
        assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
        assert failed.stderr.startswith("error: ") and sentence in failed.stderr
    assert not (tmp_path / "refused").exists()


def test_task_noise_of_a_graph_is_the_node_that_another_arm_has_at_the_same_place():
    prompt, tokenizer = "5:52|43|51|2G|3X|14=", train_tokenizer(["5:52|43|51|2G|3X|14="])
    example = Example(tokenizer.prompt(prompt), tokenizer.completion("2"), 0, "2")
    (places,) = KINDS["task"](tokenizer, [])([example])
    written = [tokenizer.decode(np.flatnonzero(place).tolist()) for place in places]
    assert written == ["12", "4"]  # the first node of either arm, and where the answer ends the other arm's second
