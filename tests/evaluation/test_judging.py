"""What is said of sampled text: against hand-computed values, a plain loop, and sets known to be alike or not."""

import json
import math

import numpy as np
import pytest
import torch
from support.tiny import BOS, EOS, a_policy, some_prompts
from support.trained import SHAPE, TEXTS, trained_folder

from sequencematch import core
from sequencematch.data.tokenizer import load_tokenizer, train_byte_tokenizer
from sequencematch.errors import UserError
from sequencematch.evaluation.judging import (
    Judge,
    distinct,
    entropy,
    judge_run,
    mauve_score,
    pretrained_judge,
    read,
    read_actions,
    repetition,
    trained_judge,
)
from sequencematch.results.metrics import read_judged

# ---- n-grams, by hand -------------------------------------------------------------------------------


def test_entropy_of_ngrams():
    half, two_thirds = math.log(2), -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert entropy([[5, 6], [6, 5]], 1) == pytest.approx(half)
    assert entropy([[5, 5, 5, 6]], 2) == pytest.approx(two_thirds)  # 55, 55, 56
    assert entropy([[5, 6], [5, 6]], 2) == 0  # no 2-gram across two continuations
    assert entropy([[5], []], 3) == 0
    assert entropy([list(range(50))], 1) == pytest.approx(math.log(50))


def test_repetition_and_distinct():
    looping, once = [1, 2, 1, 2, 1, 2, 1], [1, 2, 3, 4, 5]
    assert repetition([looping]) == pytest.approx(2 / 4)  # 1212, 2121, and both again
    assert repetition([looping, once]) == pytest.approx(2 / 6)
    assert repetition([once, once]) == 0  # the same text twice repeats nothing within either
    assert distinct([once, once]) == pytest.approx(3 / 6)
    assert distinct([looping]) == pytest.approx(2 / 5)
    assert repetition([[1, 2]]) == distinct([[1, 2]]) == repetition([]) == 0


# ---- reading ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policy():
    return a_policy(backspace=False)


def some_texts(n=12, seed=5):
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 12, rng.integers(1, 9)).tolist() for _ in range(n)]


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_a_reading_is_that_of_a_plain_loop(policy, batch):
    prompts, texts = some_prompts(13), [*some_texts(), []]
    reading = read(policy, prompts, texts, batch)
    for k, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        ids = torch.tensor([[*prompt, *text]])
        with torch.no_grad():
            found = policy.lm(ids, output_hidden_states=True)
        log_p = found.logits[0].log_softmax(-1)
        nll = -sum(log_p[len(prompt) - 1 + i, token].item() for i, token in enumerate(text))
        assert reading.nll[k] == pytest.approx(nll, abs=1e-4) and reading.tokens[k] == len(text)
        states = found.hidden_states[-1][0, len(prompt) :] if text else found.hidden_states[-1][0, -1:]
        np.testing.assert_allclose(reading.features[k], states.mean(0), atol=1e-5)
    assert reading.mean == pytest.approx(reading.nll.sum() / sum(map(len, texts)))
    assert reading.means[0] == pytest.approx(reading.nll[0] / len(texts[0])) and reading.means[-1] is None


def test_a_text_beyond_the_context_is_refused(policy):
    with pytest.raises(UserError, match="context of 48 tokens is too short for a text of 60"):
        read(policy, [[BOS]], [[3] * 59], 4)


# ---- MAUVE ------------------------------------------------------------------------------------------


def test_mauve_tells_alike_from_different(capfd):
    rng = np.random.default_rng(0)
    real, alike, other = (rng.normal(size=(200, 8)).astype(np.float32) for _ in range(3))
    assert mauve_score(real, real) == pytest.approx(1, abs=1e-3)
    near, middle, far = (mauve_score(real, features) for features in (alike, other + 0.5, other + 5))
    assert near > 0.8 > middle > far and far < 0.1
    assert mauve_score(real, alike) == near
    assert capfd.readouterr() == ("", "")


# ---- a run ------------------------------------------------------------------------------------------


def test_a_run_is_judged_by_its_live_text_up_to_the_real_length(policy):
    run = a_policy(seed=2)
    run_without, bkspc = a_policy(backspace=False, seed=2), run.bkspc
    prompts, real = some_prompts(24), some_texts(24)
    longer = [[*text, 4, bkspc, 5, 6, EOS] for text in real]
    same = [[7, bkspc, *text, 3] for text in real]
    judge = Judge("judge", "a model", policy, lambda prompt, text: (prompt, text))
    sampled = {"sampled": longer, "greedy": same, "bkspc_masked": [[8, 9, EOS]] * 24}
    judged = judge_run(judge, run_without, prompts, real, sampled, 5)
    said = judged["judge"]["description"]
    assert said.startswith("Perplexity is under a model; MAUVE compares its last hidden states, averaged over")
    assert said.endswith("of 24 sampled and as many real ones in 2 clusters.")
    reference = judged["reference"]
    plain = read(policy, prompts, real, 100)
    assert reference["perplexity"] == pytest.approx(math.exp(plain.mean), rel=1e-5)
    for name in ("sampled", "greedy"):
        assert judged["decodings"][name]["mauve"] == pytest.approx(1, abs=1e-3)
        assert {k: v for k, v in judged["decodings"][name].items() if k != "mauve"} == reference
    short = judged["decodings"]["bkspc_masked"]
    assert short["entropy"]["1"] <= math.log(2) + 1e-9 and short["perplexity"] != reference["perplexity"]
    # The run's own NLL: log pi renormalised over the tokens, without <bkspc>.
    inputs, (batch,) = core.state_tree(
        [[core.Trajectory(prompt=prompts[0], actions=real[0], imitated=[True] * len(real[0]))]], bkspc
    )
    with torch.no_grad():
        log_p = run(inputs)[0, batch.state[0, :-1], :-1].log_softmax(-1)
    own = -log_p[range(len(real[0])), real[0]].mean().item()
    assert judged["held_out"]["per_example"][0] == pytest.approx(own, abs=1e-4)
    assert len(judged["held_out"]["per_example"]) == 24
    json.dumps(judged, allow_nan=False)


@pytest.mark.parametrize("count", [1, 2, 12, 19])
def test_too_few_texts_have_no_mauve_and_that_is_said(policy, count, tmp_path):
    prompts, real = some_prompts(count), some_texts(count)
    judge = Judge("judge", "a model", policy, lambda prompt, text: (prompt, text))
    judged = judge_run(judge, policy, prompts, real, {"sampled": real}, 5)
    assert judged["decodings"]["sampled"]["mauve"] is None
    said = f"there is no MAUVE, which needs at least 20 continuations, and there are {count}."
    assert judged["judge"]["description"].endswith(said)
    (tmp_path / "judged.json").write_text(json.dumps(judged))
    by_decoding, _ = read_judged(tmp_path / "judged.json", ["sampled"])
    assert by_decoding["sampled"]["mauve"] is None


def test_a_trained_judge_says_whose_it_is(tmp_path):
    for name, seed in (("run", 1), ("judge", 2)):
        trained_folder(tmp_path / name, backspace=name == "run")
        facts = json.loads((tmp_path / name / "provenance.json").read_text()) | {"seed": seed}
        (tmp_path / name / "provenance.json").write_text(json.dumps(facts))
    judge = trained_judge(tmp_path / "judge", tmp_path / "run")
    assert judge.description == "the MLE model of seed 2 (not the run's own, 1) on the same data"
    assert not judge.policy.backspace
    assert "the only seed" in trained_judge(tmp_path / "judge", tmp_path / "judge").description


def test_a_pretrained_judge_reads_text_in_its_own_tokens(tmp_path):
    """A folder as the hub has them, whose tokens are others than the run's."""
    from sequencematch.data.tokenizer import train_tokenizer

    policy, own = trained_folder(tmp_path / "trained", SHAPE, backspace=False)
    policy.lm.save_pretrained(tmp_path / "hub")
    own.save(tmp_path / "hub")
    run_tokenizer = train_tokenizer(["What is 25 + 3?", "Calculate 9 * 41. Solution: 369"])
    prompt, continuation = run_tokenizer.prompt("What is 2"), run_tokenizer.encode("5 + 3?")
    judge = pretrained_judge(str(tmp_path / "hub"), run_tokenizer)
    assert judge.encode(prompt, continuation) == (own.prompt("What is 2"), own.encode("5 + 3?"))
    assert judge.encode(prompt, continuation) != (prompt, continuation)
    # Cut apart, the word would be two others, which the judge never reads in that place.
    given, read_after = judge.encode(run_tokenizer.prompt("Calcul"), run_tokenizer.encode("ate 9"))
    assert (given, read_after) == (own.prompt(""), own.encode("Calculate 9")) and len(read_after) == 2
    with torch.no_grad():
        ids = torch.tensor([[*own.prompt(""), *own.encode(TEXTS[0])]])
        log_p = policy.lm(ids).logits[0].log_softmax(-1)
    nll = -log_p[torch.arange(ids.shape[1] - 1), ids[0, 1:]].sum().item()
    assert read(judge.policy, [own.prompt("")], [own.encode(TEXTS[0])], 1).nll[0] == pytest.approx(nll, abs=1e-4)
    assert load_tokenizer(tmp_path / "hub").size == own.size
    with pytest.raises(UserError, match="cannot load the tokenizer of"):
        pretrained_judge(str(tmp_path / "nowhere"), run_tokenizer)


def test_a_judge_reads_a_character_that_the_prompt_ends_within_as_the_continuations(tmp_path):
    tokenizer = train_byte_tokenizer(["plain"], 260)
    policy, _ = trained_folder(tmp_path / "trained", SHAPE, backspace=False, tokenizer=tokenizer)
    policy.lm.save_pretrained(tmp_path / "hub")
    tokenizer.save(tmp_path / "hub")
    judge = pretrained_judge(str(tmp_path / "hub"), tokenizer)
    ids = tokenizer.encode("née là")
    for cut in range(len(ids) + 1):
        prompt, continuation = judge.encode([1, *ids[:cut]], ids[cut:])
        assert [*prompt, *continuation] == [1, *ids]  # one text, whole, whatever the place of the cut
        inside = cut in (2, 7)  # between the two bytes of é and of à
        assert len(prompt) == 1 + cut - inside


# ---- samples ----------------------------------------------------------------------------------------


def test_samples_are_read_by_decoding_in_the_order_of_examples(tmp_path):
    file = tmp_path / "samples.jsonl"
    records = [{"decoding": d, "example": i, "actions": [i, n]} for n, d in enumerate("ab") for i in (1, 0)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert read_actions(file, 2) == {"a": [[0, 0], [1, 0]], "b": [[0, 1], [1, 1]]}
    for content, examples in ((file.read_text(), 3), ("", 0), ('{"decoding": 1}', 1), ("{", 1)):
        file.write_text(content)
        with pytest.raises(UserError, match="delete it and sample again"):
            read_actions(file, examples)
