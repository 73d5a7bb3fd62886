"""From samples to metrics, through the real command: hand-computed numbers, and one sentence for bad input.

A metrics.json of another form is refused wherever it is read.
"""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from sequencematch.errors import UserError
from sequencematch.results.bleu import corpus_bleu, translation_scores
from sequencematch.results.runs import read_comparison, read_metrics, read_runs, right_shares
from sequencematch.store.provenance import identity

SCRIPT = Path(__file__).parents[2] / "src" / "score.py"


def sample(decoding, example, text, solution, finished=True, pops=0, wrong_pops=0, pushes=3) -> dict:
    return {
        "decoding": decoding,
        "example": example,
        "answer": 0,
        "actions": [],
        "text": text,
        "rendered": "",
        "finished": finished,
        "solution": solution,
        "pushes": pushes,
        "pops": pops,
        "deletions": min(pops, 1),
        "wrong_pops": wrong_pops,
    }


SAMPLES = [
    sample("sampled", 2, "7", "7", finished=False),  # right so far, but cut off: wrong
    sample("sampled", 0, "12", "12", pops=3, wrong_pops=1),
    sample("sampled", 1, "12 ", "12", pops=1, wrong_pops=1),
    sample("sampled", 3, "-4", "-4"),
    sample("greedy", 0, "12", "12"),
    sample("greedy", 1, "12", "12"),
    sample("greedy", 2, "8", "7"),
    sample("greedy", 3, "-4", "-4"),
]
RATES = {"corrupted": [0.5, 1.0, 0.6], "clean": [0.1, 0.0], "example_corrupted": [0, 1, 3], "example_clean": [1, 3]}
REPAIR = {"backspace": True, "corruptions": {"task": RATES, "model": RATES | {"clean": [0.3, 0.1]}}}
TEXTS = {"perplexity": 40.0, "entropy": {"1": 5.1, "2": 7.9, "3": 8.5}, "repetition": 0.1, "distinct": 0.6}
JUDGED = {
    "judge": {"model": "mle/seed=2", "description": "Another seed's."},
    "held_out": {"nll": 3.5, "per_example": [3.0, 4.0, 3.5, 3.5]},
    "held_out_given_no_deletion": {"nll": 3.4, "per_example": [2.9, 3.9, 3.4, 3.4]},
    "decodings": {name: TEXTS | {"mauve": 0.8, "per_example": {"nll": [1, 2]}} for name in ("sampled", "greedy")},
    "reference": TEXTS | {"per_example": {"nll": [3]}},
}


@pytest.fixture
def run(tmp_path):
    """Write the inputs of one run and score them; returns the finished process and the metrics, if any."""
    settings = {"optimiser": {"batch": 32}, "model": {"layers": 2, "deletions": 3}}
    provenance = {
        "base_steps": 1500,
        "steps": 2100,
        "settings": settings,
        "commit": "0123456789abcdef",
        "uncommitted_changes": False,
    }

    def score(samples=SAMPLES, repair=REPAIR, provenance=provenance, family="arithmetic", judged=None, language=None):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in samples]
        (tmp_path / "samples.jsonl").write_text("".join(line + "\n" for line in lines))
        (tmp_path / "repair.json").write_text(json.dumps(repair))
        for name, content in (
            ("model", provenance),
            ("examples", {"digest": "abc", "family": family, "language": language}),
        ):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "provenance.json").write_text(json.dumps(content))
        target = tmp_path / "metrics.json"
        options = {name: tmp_path / name for name in ("model", "examples")}
        options |= {"samples": tmp_path / "samples.jsonl", "repair": tmp_path / "repair.json", "output": target}
        options |= {"scale": "smoke", "task": "mul", "method": "sm", "eta": "0.2", "seed": "1"}
        if judged is not None:
            options |= {"judged": tmp_path / "judged.json"}
            options["judged"].write_text(json.dumps(judged))
        command = [sys.executable, SCRIPT, *(word for name in options for word in (f"--{name}", options[name]))]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        return done, json.loads(target.read_text()) if target.exists() else None

    return score


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("seed", {"seed": 2}),
        ("eta", {"noised": "results/smoke/mul/noised/eta=0.1/seed=1"}),
        ("task", {"noised": "results/smoke/add/noised/eta=0.2/seed=1"}),
        ("method", {"output": "results/smoke/mul/bc/eta=0.2/seed=1/model"}),
    ],
)
def test_a_run_that_the_models_provenance_denies_is_refused(run, tmp_path, name, facts):
    record = {"sha256": {}, "commit": "c", "uncommitted_changes": False, "options": facts}
    (tmp_path / "model.provenance.json").write_text(json.dumps(record))
    settings = {"optimiser": {"batch": 32}, "model": {"layers": 2}}
    trained = {"base_steps": 1, "steps": 2, "settings": settings, "commit": "c", "uncommitted_changes": False}
    done, metrics = run(provenance=trained | facts)
    assert metrics is None and done.stderr.startswith(f"error: --{name} is "), done.stderr
    assert "was trained with" in done.stderr and done.stderr.count("\n") == 1


def test_hand_computed_numbers(run):
    done, metrics = run()
    assert done.returncode == 0, done.stderr
    assert {name: metrics[name] for name in ("scale", "task", "family", "method", "eta", "seed")} == {
        "scale": "smoke",
        "task": "mul",
        "family": "arithmetic",
        "method": "sm",
        "eta": 0.2,
        "seed": 1,
    }
    assert metrics["decodings"]["sampled"] == {
        "accuracy": 0.5,
        "n": 4,
        "answers": 1,
        "correct": "1001",
        "pushes_per_sequence": 3.0,
        "pops_per_sequence": 1.0,
        "deletions_per_sequence": 0.5,
        "wrong_pop_share": 0.5,
        "cut_off_share": 0.25,
    }
    greedy = metrics["decodings"]["greedy"]
    assert (greedy["correct"], greedy["wrong_pop_share"], greedy["cut_off_share"]) == ("1101", None, 0.0)
    assert metrics["repair"]["task"]["repair_rate"] == pytest.approx(0.7)
    assert metrics["repair"]["task"]["false_alarm_rate"] == pytest.approx(0.05)
    assert metrics["repair"]["task"]["per_example"]["clean"] == {"1": 0.1, "3": 0.0}
    assert metrics["repair"]["model"]["false_alarm_rate"] == pytest.approx(0.2)
    assert metrics["budget"]["steps"] == 2100 and metrics["budget"]["data_digest"] == "abc"
    assert metrics["commit"] == "0123456789ab"


def test_several_answers_to_a_question_are_averaged(run):
    again = [line | {"answer": 1, "text": "12", "finished": True} for line in SAMPLES if line["decoding"] == "greedy"]
    once, twice = run()[1]["decodings"]["greedy"], run(samples=[*SAMPLES, *again])[1]["decodings"]["greedy"]
    right = [int(a) + (line["solution"] == "12") for a, line in zip(once["correct"], again, strict=True)]
    assert (twice["n"], twice["answers"]) == (4, 2) and twice["correct"] == "".join(map(str, right))
    assert twice["accuracy"] == sum(right) / 8 and right_shares(twice) == [n / 2 for n in right]
    done, _ = run(samples=[*SAMPLES, again[0]])
    assert done.returncode and "some questions have more answers" in done.stderr


def test_policy_without_backspace_has_no_repair(run):
    _, metrics = run(repair={"backspace": False, "corruptions": {}})
    assert metrics["repair"] is None


TRANSLATIONS = [
    ("Le chat est sur le petit tapis .", "Le chat est assis sur le petit tapis ."),
    ("Il pleut", "Il pleut beaucoup aujourd'hui , je crois ."),
    ("", "Rien à dire ."),
    ("Une phrase entièrement juste , mot pour mot .", "Une phrase entièrement juste , mot pour mot ."),
]


def test_translations_are_scored_by_sacrebleu(run):
    """As its command would; one that was cut off counts with the text it has."""
    samples = [sample("sampled", i, *texts, finished=i != 1) for i, texts in enumerate(TRANSLATIONS)]
    done, metrics = run(samples=samples, family="translation")
    assert done.returncode == 0, done.stderr
    found = metrics["decodings"]["sampled"]
    translations, references = map(list, zip(*TRANSLATIONS, strict=True))
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(translations, [references]).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(translations, [references]).score)
    assert 0 < found["bleu"] < 100 and found["cut_off_share"] == 0.25 and "accuracy" not in found
    assert found["signature"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert found["signature"]["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert len(found["statistics"]) == 4 and all(len(counts) == 10 for counts in found["statistics"])


def test_a_run_is_scored_in_the_language_that_its_examples_are_written_in(run):
    texts = [("今天天气不好，我们去公园散步。", "今天天气很好，我们去公园散步。"), ("他在看书。", "他在看书。")]
    done, metrics = run(
        samples=[sample("sampled", i, *pair) for i, pair in enumerate(texts)], family="translation", language="zh"
    )
    found = metrics["decodings"]["sampled"]
    assert done.returncode == 0 and "|tok:zh|" in found["signature"]["bleu"] and found["bleu"] > 60


def test_statistics_give_the_exact_bleu_of_any_resample():
    """Equality with sacrebleu on random subsets, repetitions included, down to single and to hopeless sentences."""
    rng = random.Random(0)
    words = "un chat noir dort sur la table de la cuisine depuis midi .".split()
    references = [" ".join(rng.choices(words, k=rng.randint(3, 12))) for _ in range(30)]
    translations = [" ".join(w if rng.random() < 0.7 else "x" for w in text.split()) for text in references]
    statistics = np.array(translation_scores(translations, references)["statistics"])
    drawn = [rng.choices(range(30), k=rng.randint(1, 40)) for _ in range(50)]
    found = corpus_bleu(np.array([statistics[chosen].sum(axis=0) for chosen in drawn]))
    for score, chosen in zip(found, drawn, strict=True):
        expected = sacrebleu.corpus_bleu([translations[i] for i in chosen], [[references[i] for i in chosen]])
        assert score == pytest.approx(expected.score, abs=1e-9)
    assert len(set(found)) > 40


def test_judged_texts(run):
    done, metrics = run(family="text", judged=JUDGED)
    assert done.returncode == 0, done.stderr
    found = metrics["decodings"]["sampled"]
    assert (found["perplexity"], found["mauve"], found["entropy"]["2"]) == (40, 0.8, 7.9)
    assert (found["pops_per_sequence"], found["n"]) == (1, 4) and "per_example" not in found
    assert metrics["judge"] == JUDGED["judge"] and metrics["held_out"] == JUDGED["held_out"]
    assert metrics["reference"] == TEXTS


def test_questions_digest_tells_questions_apart(run):
    """Other questions, other digest; another order of the lines, the same."""
    _, first = run()
    _, reordered = run(samples=SAMPLES[::-1])
    _, other = run(samples=[line | {"solution": "5"} if line["example"] == 3 else line for line in SAMPLES])
    digests = [metrics["budget"]["questions_digest"] for metrics in (first, reordered, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": [*SAMPLES[:2], '{"decoding": "sam']}, "line 3 of"),
        ({"samples": [{"decoding": "sampled", "example": 0, "answer": 0}]}, "holds no samples ('solution' is missing)"),
        ({"samples": [*SAMPLES, SAMPLES[0]]}, "some questions have more answers than others"),
        ({"samples": SAMPLES[:-1]}, "different questions"),
        ({"samples": []}, "holds no samples"),
        ({"repair": REPAIR | {"corruptions": {"model": RATES | {"clean": [0.1]}}}}, "holds no repair measurement"),
        ({"repair": {"corruptions": {}}}, "'backspace'"),
        ({"family": "text"}, "needs --judged"),
        ({"judged": JUDGED}, "takes no --judged"),
        ({"family": "poetry"}, "holds no facts of examples ('poetry' is missing)"),
        ({"family": "text", "judged": JUDGED | {"decodings": {}}}, "'sampled' is missing"),
        (
            {"family": "text", "judged": JUDGED | {"held_out": {"nll": float("nan"), "per_example": []}}},
            "NaN is not a finite number",
        ),
        ({"provenance": {"steps": 3}}, "'settings' is missing"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(run, changes, said):
    done, metrics = run(**changes)
    assert done.returncode == 1 and metrics is None
    assert done.stderr.startswith("error: ") and said in done.stderr and done.stderr.count("\n") == 1


def test_starts_without_torch_and_pandas():
    code = (
        f"import runpy, sys; runpy.run_path({str(SCRIPT)!r});"
        "print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("changed", [None, "model", "examples", "tokenizer"])
def test_samples_of_other_inputs_are_not_scored(run, tmp_path, changed):
    """Each record names the inputs that its result was made from; here one of them was made again afterwards."""

    def record(name, inputs, content=b""):
        sha256 = {name: hashlib.sha256(content).hexdigest()}
        facts = {"commit": "c", "uncommitted_changes": False, "sha256": sha256, "inputs": inputs}
        (tmp_path / f"{name}.provenance.json").write_text(json.dumps(facts))
        return identity(tmp_path / name)

    run()  # writes the files
    files = {name: (tmp_path / name).read_bytes() for name in ("samples.jsonl", "repair.json")}
    made_of = {name: record(name, {}) for name in ("model", "tokenizer")}
    made_of["examples"] = record("examples", {"tokenizer": made_of["tokenizer"]})
    for name, content in files.items():
        record(name, made_of, content)
    if changed == "tokenizer":
        record("examples", {"tokenizer": "another"})
    elif changed:
        record(changed, {"tokenizer": made_of["tokenizer"]}, b"another")
    done, _metrics = run()
    if changed is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert f"samples.jsonl' was not made with the {changed} " in done.stderr


def test_edited_samples_are_not_scored(run, tmp_path):
    facts = {"commit": "c", "uncommitted_changes": False, "sha256": {"samples.jsonl": "0" * 64}}
    (tmp_path / "samples.jsonl.provenance.json").write_text(json.dumps(facts))
    done, _ = run()
    assert done.returncode == 1 and "samples.jsonl' was changed after it was written" in done.stderr


# ---- metrics.json as it is read ---------------------------------------------------------------------

ARITHMETIC = {
    "n": 4,
    "correct": "0110",
    "accuracy": 0.5,
    "pops_per_sequence": 0.5,
    "wrong_pop_share": 0.5,
    "cut_off_share": 0.25,
}
BLEU = translation_scores(["a b c d e", "f g h i j", "k", "l m"], ["a b c d e", "f g h x j", "k", "l n"])
TRANSLATION = {"n": 4, **BLEU}
MEASURED = {
    "repair_rate": 0.4,
    "false_alarm_rate": 0.1,
    "per_example": {"corrupted": {"0": 0.3, "2": 0.5}, "clean": {"0": 0.1}},
}


def content(decoding, repair=MEASURED, **changes):
    sound = {"method": "sm", "eta": 0.2, "seed": 1, "task": "mul", "scale": "s", "family": "arithmetic"}
    return sound | {"decodings": {"sampled": decoding}, "repair": {"random": repair}} | changes


SOUND = [content(ARITHMETIC), content(TRANSLATION, family="translation"), content(ARITHMETIC, repair=MEASURED)]
WRONG = [
    content(ARITHMETIC, MEASURED | {"repair_rate": "high"}),
    content(ARITHMETIC, decodings=[]),
    content(ARITHMETIC, decodings={"sampled": None}),
    content(ARITHMETIC, decodings={"<script>": ARITHMETIC}),
    content(ARITHMETIC, eta=1.5),
    content(ARITHMETIC, seed="one"),
    content(ARITHMETIC, family="poetry"),
]


@pytest.mark.parametrize("found", SOUND)
def test_sound_metrics_come_back_as_they_are(tmp_path, found):
    (tmp_path / "metrics.json").write_text(json.dumps(found))
    assert read_metrics(tmp_path / "metrics.json") == found


@pytest.mark.parametrize("found", WRONG)
def test_another_form_is_refused_by_every_reader(tmp_path, found):
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps(found))
    for read in (read_metrics, lambda path: read_runs([path]), lambda path: read_comparison([path])):
        with pytest.raises(UserError, match="holds no sound metrics") as caught:
            read(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
