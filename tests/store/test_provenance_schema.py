"""Folders of data and models say where they come from: checked, and refused where they do not belong together."""

import argparse
import json
import shutil
import sys

import pytest
from support.experiment import run
from support.trained import trained_folder

from sequencematch.data.examples import load_examples
from sequencematch.errors import UserError
from sequencematch.evaluation.judging import trained_judge
from sequencematch.store import provenance
from sequencematch.store.datasets import save
from sequencematch.store.provenance_schema import read_facts
from sequencematch.training.batches import load_corpora

SOUND = {"stage": {"loss": "sm"}, "settings": {"model": {}}, "seed": 1, "steps": 3, "noised": "n", "own": [1]}


def test_sound_facts_come_back_as_they_are(tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps(SOUND))
    assert read_facts(tmp_path, "make it again", "seed", "stage.loss") == SOUND


@pytest.mark.parametrize("changes", [{"seed": "1"}, {"stage": None}, {"stage": {}}], ids=str)
def test_a_judge_of_a_damaged_folder_is_one_sentence(tmp_path, changes):
    trained_folder(tmp_path)
    (tmp_path / "provenance.json").write_text(json.dumps(SOUND | changes))
    with pytest.raises(UserError, match="is damaged"):
        trained_judge(tmp_path, tmp_path)


def test_folders_of_another_stage_are_named(tmp_path):
    save({"train": {"prompt": ["1 + 1"]}}, tmp_path / "data", {"settings": {"family": "arithmetic"}})
    with pytest.raises(UserError, match="data' holds no examples"):
        load_examples(tmp_path / "data")
    for splits in ({"train": {"prompt": [[1]]}}, {"train": {"draw": [0]}, "validation": {"draw": [0]}}):
        save(splits, tmp_path / "examples", {})
        with pytest.raises(UserError, match="examples' holds no noised examples"):
            load_corpora(tmp_path / "examples", eos=2)


@pytest.mark.parametrize("script", ["train_tokenizer", "encode_examples"])
@pytest.mark.slow
def test_a_folder_that_is_no_dataset_is_one_sentence(tmp_path, script):
    _, tokenizer = trained_folder(tmp_path / "model")
    save({"train": {"actions": [[1]]}}, tmp_path / "noised", {"settings": {"draws": 1}})
    tokenizer.save(tmp_path / "tokenizer")
    files = {"tokenizer": tmp_path / "tokenizer"} if script == "encode_examples" else {}
    failed = run(script, data=tmp_path / "noised", output=tmp_path / "out", **files, check=False)
    assert failed.returncode == 1 and "holds no questions, pairs or documents" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_results_of_another_tokenizer_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(provenance.__file__)])

    def result(name, **inputs):
        (tmp_path / name).write_text(name)
        provenance.record(argparse.Namespace(**inputs), tmp_path / name)
        return tmp_path / name

    one, other = result("one"), result("other")
    examples, foreign = result("examples", tokenizer=one), tmp_path / "foreign"
    foreign.write_text("a stranger's, without a record")
    provenance.check_one_tokenizer(one, examples, foreign)
    with pytest.raises(UserError, match="examples' was not made with the tokenizer in '.*other'"):
        provenance.check_one_tokenizer(other, foreign, examples)


@pytest.mark.slow
def test_scripts_refuse_inputs_that_do_not_belong_together(inputs, tmp_path):
    counts = {"train": 60, "validation": 4, "test": 4}
    run("make_arithmetic", generator="list_prime_factors", entropy=(1, 2), **counts, output=tmp_path / "data2")
    run("train_tokenizer", data=tmp_path / "data2", output=tmp_path / "tokenizer2")
    files = {"output": tmp_path / "samples.jsonl", "repair": tmp_path / "repair.json", "showcase": tmp_path / "s.jsonl"}
    given = {"model": inputs / "pretrain_bc", "examples": inputs / "examples", "tokenizer": tmp_path / "tokenizer2"}
    failed = run("sample", **given, **files, policy=given["model"], max_actions=4, seed=1, check=False)
    assert failed.returncode == 1 and failed.stderr.count("error: ") == 1, failed.stderr
    assert (
        "give the tokenizer that the model was trained with" in failed.stderr
        or "was not made with the tokenizer" in failed.stderr
    )
    assert not files["output"].exists()
    record = json.loads((inputs / "base.provenance.json").read_text())
    record["inputs"]["tokenizer"] = provenance.identity(tmp_path / "tokenizer2")
    shutil.copytree(inputs / "base", tmp_path / "foreign")
    (tmp_path / "foreign.provenance.json").write_text(json.dumps(record))
    given |= {"tokenizer": inputs / "tokenizer", "policy": tmp_path / "foreign"}
    failed = run("sample", **given, **files, max_actions=4, seed=1, check=False)
    assert failed.stderr.startswith(f"error: '{tmp_path / 'foreign'}' was not made with the tokenizer"), failed.stderr
    second = {"data": tmp_path / "data2", "tokenizer": tmp_path / "tokenizer2"}
    run("encode_examples", **second, output=tmp_path / "examples2")
    for examples, policy in ((inputs / "examples", {}), (tmp_path / "examples2", {"policy": inputs / "base"})):
        given = {"examples": examples, "tokenizer": tmp_path / "tokenizer2", **policy}
        failed = run("inject_noise", **given, output=tmp_path / "noised2", eta=0.2, seed=1, check=False)
        wrong = policy.get("policy", examples)
        assert failed.stderr.startswith(f"error: '{wrong}' was not made with the tokenizer"), failed.stderr
