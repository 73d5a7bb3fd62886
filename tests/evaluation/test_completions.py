"""What is recorded of a policy's completions, of its answers to wrong tokens, and of prompts damaged for show."""

import json
import re

import pytest
import torch
from support.experiment import run as run_script
from support.tiny import next_logits
from support.trained import TEXTS, trained_folder

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.data.examples import Example, columns
from sequencematch.data.tokenizer import train_byte_tokenizer
from sequencematch.evaluation.beams import beam_search
from sequencematch.evaluation.completions import attempts, choose, complete, perturbations
from sequencematch.evaluation.wrong_tokens import answers, repair, table_8_examples
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import Perturbation, Rollout, sample
from sequencematch.seeding import stable_seed
from sequencematch.settings.evaluation import Evaluation
from sequencematch.store.datasets import save
from sequencematch.store.files import write_json_lines

SETTINGS = Evaluation(
    decodings=("sampled", "bkspc_bias=3", "bkspc_masked", "perturbed=0.5", "top_p=0.5"),
    corruptions=("random", "task", "model"),
    batch=4,
    max_actions=16,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A policy that deletes often, one that cannot, the folder of a third, a tokenizer, examples of two families."""
    folder = tmp_path_factory.mktemp("run")
    policy, tokenizer = trained_folder(folder / "run")
    with torch.no_grad():
        policy.bkspc_row *= 3  # sure of deleting in some states, and of not doing so in others
    plain, _ = trained_folder(folder / "plain", backspace=False)
    return policy, plain, folder / "plain", tokenizer


def questions(tokenizer):
    cut = [text.split("Solution: ") for text in TEXTS]
    return [Example(tokenizer.prompt(q + "Solution: "), tokenizer.completion(a), 10, a) for q, a in cut]


def passages(tokenizer):
    texts = [tokenizer.prompt(text)[:10] for text in TEXTS]
    return [Example(ids[:5], ids[5:], 0, tokenizer.decode(ids[5:])) for ids in texts]


def recorded(policy, examples, family, tokenizer, kind="random", settings=SETTINGS):
    found = {}
    for record in complete(policy, examples, family, kind, settings, 1, tokenizer):
        found.setdefault(record["decoding"], []).append(record)
    return found


# ---- completions ------------------------------------------------------------------------------------


def test_records_are_what_was_sampled(run):
    policy, _, _, tokenizer = run
    examples = questions(tokenizer)
    found = recorded(policy, examples, "arithmetic", tokenizer, "task")
    assert list(found) == list(SETTINGS.decodings)
    digits = sorted(tokenizer.id(d) for d in "0123456789")
    plain = Decoding(16)
    for name, decoding, perturbation in (
        ("sampled", plain, None),
        ("bkspc_bias=3", Decoding(16, bkspc_bias=3), None),
        ("bkspc_masked", Decoding(16, bkspc_bias=-torch.inf), None),
        ("perturbed=0.5", plain, Perturbation(0.5, [digits] * 3)),
        ("top_p=0.5", Decoding(16, top_p=0.5), None),
    ):
        streams = [stable_seed(1, "evaluation", i) for i in range(3)]
        rollouts, _ = sample(policy, [e.prompt for e in examples], decoding, streams, 4, perturbation)
        assert [r["actions"] for r in found[name]] == [r.actions for r in rollouts]
        for i, (record, rollout, example) in enumerate(zip(found[name], rollouts, examples, strict=True)):
            live = core.live_tokens(example.prompt, rollout.actions, policy.bkspc)
            assert record["text"] == tokenizer.decode(live) and record["solution"] == example.text
            assert record["finished"] == rollout.finished and record["example"] == i
            assert record["pops"] == rollout.actions.count(policy.bkspc)
            assert record["pushes"] + record["pops"] == len(rollout.actions)
    assert not any(record["pops"] for record in found["bkspc_masked"])
    assert sum(record["pops"] for record in found["bkspc_bias=3"]) > 3


def test_several_answers_are_drawn_and_one_is_chosen(run):
    policy, _, _, tokenizer = run
    examples = questions(tokenizer)
    names = ("sampled", "best_of=3", "majority=3", "best_of=1.5")
    found = recorded(policy, examples, "arithmetic", tokenizer, settings=Evaluation(decodings=names, max_actions=16))
    for i, example in enumerate(examples):
        streams = [stable_seed(1, "evaluation", i), *(stable_seed(1, "evaluation", i, k) for k in (1, 2))]
        three, _ = sample(policy, [example.prompt] * 3, Decoding(16), streams, 4)
        assert found["sampled"][i]["actions"] == three[0].actions
        likeliest = max(three, key=lambda rollout: sum(rollout.log_policy))
        assert found["best_of=3"][i]["actions"] == likeliest.actions
        pushes = sum(action != policy.bkspc for rollout in three for action in rollout.actions)
        assert found["best_of=3"][i]["pushes"] == found["majority=3"][i]["pushes"] == pushes
        chosen = max(three[: attempts(1.5, 1, i)], key=lambda rollout: sum(rollout.log_policy))
        assert found["best_of=1.5"][i]["actions"] == chosen.actions


def test_answers_that_are_not_chosen_among_are_recorded_each(run):
    policy, _, _, tokenizer = run
    examples = questions(tokenizer)
    names = ("sampled", "greedy", "best_of=3")
    one, four = (
        recorded(policy, examples, "arithmetic", tokenizer, settings=Evaluation(decodings=names, answers=n))
        for n in (1, 4)
    )
    assert one["greedy"] == four["greedy"] and one["best_of=3"] == four["best_of=3"]
    assert [(r["example"], r["answer"]) for r in four["sampled"]] == [(i, k) for i in range(3) for k in range(4)]
    assert one["sampled"] == four["sampled"][::4]
    for i, example in enumerate(examples):
        streams = [stable_seed(1, "evaluation", i), *(stable_seed(1, "evaluation", i, k) for k in (1, 2, 3))]
        drawn, _ = sample(policy, [example.prompt] * 4, Decoding(24), streams, 4)
        assert [r["actions"] for r in four["sampled"][4 * i : 4 * i + 4]] == [r.actions for r in drawn]


def test_the_majority_is_of_answers_that_ended():
    def of(*finished):
        return [Rollout([], ended, [0.0]) for ended in finished]

    assert choose(of(True, True, True), [[1], [2], [2]], "majority") == 1
    assert choose(of(True, True, True), [[1], [2], [3]], "majority") == 0
    assert choose(of(False, False, True), [[1], [1], [2]], "majority") == 2
    assert choose(of(False, False), [[1], [1]], "majority") == 0
    assert choose([Rollout([], True, [-1.0, -1.0]), Rollout([], True, [-0.5])], [[1], [2]], "best_of") == 1
    assert choose(of(True, True), [[1], [2]], "") == 0


def test_attempts_are_as_many_as_named_on_average():
    for mean in (1.0, 2.0, 1.3, 4.75):
        drawn = [attempts(mean, 1, item) for item in range(4000)]
        assert set(drawn) <= {int(mean), int(mean) + 1}
        assert sum(drawn) / 4000 == pytest.approx(mean, abs=4 * 0.5 / 4000**0.5)


def test_without_backspace_nothing_concerns_it(run):
    _, plain, folder, tokenizer = run
    examples = passages(tokenizer)
    assert list(recorded(plain, examples, "text", tokenizer)) == ["sampled", "perturbed=0.5", "top_p=0.5"]
    splits = {"train": examples, "test": examples}
    assert repair(plain, splits, "text", SETTINGS, folder, 1, tokenizer) == {"backspace": False, "corruptions": {}}
    assert list(table_8_examples(plain, examples, "text", SETTINGS, 1, tokenizer)) == []


def test_beams_are_of_policies_that_cannot_delete_and_all_count(run):
    policy, plain, _, tokenizer = run
    examples = questions(tokenizer)
    settings = Evaluation(decodings=("greedy", "greedy+beams=2"), max_actions=16)
    assert list(recorded(policy, examples, "arithmetic", tokenizer, settings=settings)) == ["greedy"]
    found = recorded(plain, examples, "arithmetic", tokenizer, settings=settings)["greedy+beams=2"]
    for record, both in zip(found, beam_search(plain, [e.prompt for e in examples], 2, 16, 4), strict=True):
        assert record["actions"] == both[0].actions
        assert record["pushes"] == sum(len(beam.actions) for beam in both)


def test_a_passage_is_cut_to_the_length_of_the_real_one(run):
    policy, _, _, tokenizer = run
    examples = passages(tokenizer) * 10
    records = [r for found in recorded(policy, examples, "text", tokenizer).values() for r in found]
    seen = set()
    for record in records:
        live = core.live_tokens([0], record["actions"], policy.bkspc)
        assert record["text"] == tokenizer.decode(live[:5])
        assert record["finished"] == (len(live) >= 5 or record["actions"][-1] == tokenizer.special_ids["eos"])
        seen.add((record["finished"], len(live) > 5))
    assert seen >= {(True, True), (True, False), (False, False)}


def test_perturbations_are_digits_of_the_base_or_ordinary_tokens(run):
    tokenizer = run[3]
    examples = [Example([1], [3], base, "") for base in (2, 10)]
    assert [tokenizer.decode(ids) for ids in perturbations(examples, "task", tokenizer)] == ["01", "0123456789"]
    ordinary, _ = perturbations(examples, "model", tokenizer)
    assert ordinary == [t for t in range(tokenizer.size) if t not in tokenizer.special_ids.values()]


# ---- repair -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [2, 100])
def test_answers_are_those_of_every_state_alone(run, batch):
    policy, bkspc = run[0], run[0].bkspc
    corrupted = [
        Trajectory(prompt=[1, 5], actions=[3, bkspc, 4, 6, bkspc, 7], imitated=[False, True, True, False, True, True]),
        Trajectory(prompt=[1], actions=[8, bkspc, 2], imitated=[False, True, True]),  # one token: no clean state
        Trajectory(
            prompt=[1, 5, 6],
            actions=[9, bkspc, 3, 4, bkspc, 4, 5],
            imitated=[False, True, True, False, True, True, True],
        ),
    ]

    def p(*text):
        return next_logits(policy, text).softmax(-1)[bkspc].item()

    found = answers(policy, corrupted, batch)
    wrong = [(p(1, 5, 3) + p(1, 5, 4, 6)) / 2, p(1, 8), (p(1, 5, 6, 9) + p(1, 5, 6, 3, 4)) / 2]
    assert found["corrupted"] == pytest.approx(wrong, abs=1e-5)
    assert found["clean"] == pytest.approx([p(1, 5, 4), p(1, 5, 6, 3)], abs=1e-5)
    assert (found["example_corrupted"], found["example_clean"]) == ([0, 1, 2], [0, 2])


def test_repair_is_measured_for_every_kind_and_from_the_last_token_of_a_passages_prompt(run, monkeypatch):
    policy, _, folder, tokenizer = run
    asked = []
    monkeypatch.setattr(
        "sequencematch.evaluation.wrong_tokens.answers", lambda policy, rows, batch: asked.append(rows) or {}
    )
    for family, examples in (("arithmetic", questions(tokenizer)), ("text", passages(tokenizer))):
        asked.clear()
        splits = {"train": examples, "test": examples}
        kinds = SETTINGS.corruptions if family == "arithmetic" else ("random", "model")
        settings = SETTINGS.model_copy(update={"corruptions": kinds})
        measured = repair(policy, splits, family, settings, folder, 1, tokenizer)
        assert measured == {"backspace": True, "corruptions": {kind: {} for kind in settings.corruptions}}
        shift = family == "text"
        for rows in asked:
            for row, example in zip(rows, examples, strict=True):
                whole = [*example.prompt, *example.completion]
                assert row.prompt == whole[: len(example.prompt) - shift]
                live = core.live_tokens(row.prompt, row.actions, policy.bkspc)
                assert row.prompt + live == whole and row.imitated.count(False) == len(live)
    json.dumps(measured)


# ---- table 8 ----------------------------------------------------------------------------------------


def test_shown_are_the_first_examples_with_their_last_token_wrong(run):
    policy, _, _, tokenizer = run
    examples = passages(tokenizer) * 10
    settings = SETTINGS.model_copy(update={"shown": 20})
    records = list(table_8_examples(policy, examples, "text", settings, 1, tokenizer))
    assert [record["example"] for record in records] == list(range(20))
    for record, example in zip(records, examples, strict=False):
        assert record["prompt"] + record["true"] == tokenizer.decode(example.prompt)
        assert record["wrong"] != record["true"]
        assert record["pieces"][0][0] == record["wrong"]
        assert record["answered_at_once"] == record["rendered"].startswith(record["wrong"] + "<bkspc>")
        written = "".join(text for text, _ in record["pieces"])
        assert written == re.sub("<(bkspc|eos|bos|pad)>", "", record["rendered"])
        gone = record["pieces"][0][1] == "deleted"
        assert gone or not record["answered_at_once"]
    assert {record["answered_at_once"] for record in records} == {True, False}
    assert records == list(table_8_examples(policy, examples, "text", settings, 1, tokenizer))  # drawn by seed
    other = list(table_8_examples(policy, examples, "text", settings, 2, tokenizer))
    assert [r["wrong"] for r in other] != [r["wrong"] for r in records]  # ... and by nothing else
    assert list(table_8_examples(policy, examples, "arithmetic", settings, 1, tokenizer)) == []


# ---- the scripts ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_text_is_sampled_shown_and_judged_by_the_scripts(tmp_path):
    tokenizer = train_byte_tokenizer(TEXTS, 300)
    _policy, _ = trained_folder(tmp_path / "run", tokenizer=tokenizer)
    for name in ("judge", "plain"):
        trained_folder(tmp_path / name, backspace=False, tokenizer=tokenizer)
    tokenizer.save(tmp_path / "tokenizer")
    ids = [tokenizer.prompt(text * 3) for text in TEXTS] * 4
    examples = [Example(i[:5], i[5:21], 0, tokenizer.decode(i[5:21])) for i in ids]
    splits = {name: columns(examples) for name in ("train", "validation", "test")}
    save(splits, tmp_path / "text", {"family": "text"})
    save(splits, tmp_path / "translation", {"family": "translation"})
    common = {"examples": tmp_path / "text", "tokenizer": tmp_path / "tokenizer", "batch": 5}

    settings = {"decodings": ("sampled", "bkspc_masked"), "corruptions": ("random", "model"), "max_actions": 24}
    files = {name: tmp_path / f"{name}.jsonl" for name in ("output", "repair", "showcase")}
    models = {"model": tmp_path / "run", "policy": tmp_path / "plain"}
    run_script("sample", **models, seed=1, shown=4, **common, **settings, **files)
    lines = (files[name].read_text().splitlines() for name in ("output", "showcase"))
    records, shown = ([json.loads(line) for line in written] for written in lines)
    assert [r["decoding"] for r in records] == ["sampled"] * 12 + ["bkspc_masked"] * 12 and len(shown) == 4
    assert records[3]["actions"] != records[0]["actions"]  # the same prompt, another stream
    repaired = json.loads(files["repair"].read_text())
    assert repaired["backspace"] and list(repaired["corruptions"]) == ["random", "model"]
    assert repaired["corruptions"]["random"]["example_clean"] == list(range(12))

    judging = {"samples": files["output"], "model": tmp_path / "run", "output": tmp_path / "judged.json"}
    done = run_script("judge", judge_model=tmp_path / "judge", **common, **judging)
    assert (done.stdout, done.stderr) == ("", "")
    judged = json.loads((tmp_path / "judged.json").read_text())
    assert list(judged["decodings"]) == ["sampled", "bkspc_masked"]
    assert set(judged["decodings"]["sampled"]) == set(judged["reference"]) | {"mauve"}
    assert len(judged["decodings"]["sampled"]["per_example"]["nll"]) == 12
    neither = run_script("judge", check=False, **common, **judging)
    assert neither.returncode == 1 and neither.stderr.startswith("error: name one judge")
    common["examples"] = tmp_path / "translation"
    other = run_script("judge", check=False, judge_model=tmp_path / "judge", **common, **judging)
    assert "holds examples of translation: text alone is judged" in other.stderr


def test_lines_of_json_end_where_their_readers_think(tmp_path):
    records = [{"text": "a\u2028b\x85c\x0bd\né"}, {"text": ""}]
    write_json_lines(tmp_path / "lines.jsonl", records)
    assert [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()] == records
