"""The command ``sequencematch``: completions with deletions visible, traces, exports, and errors in a sentence."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.networks import random_trajectory, tiny_llama
from support.trained import PROMPTS, TEXTS, trained_folder

from sequencematch import core
from sequencematch.cli import main
from sequencematch.core import Trajectory
from sequencematch.data.tokenizer import train_tokenizer
from sequencematch.sampling.rollout import Decoding, sample
from sequencematch.trace import render, trace

PROMPT = PROMPTS[0].rstrip()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command") / "checkpoint"
    policy, tokenizer = trained_folder(folder)
    return folder, policy, tokenizer


def output(capsys, *words):
    main(list(map(str, words)))
    return capsys.readouterr().out


def error(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main(list(map(str, words)))
    assert stopped.value.code not in (0, None)
    text = str(stopped.value.code)
    assert text.startswith("error: ") and "\n" not in text
    return text


def test_json_is_what_the_sampler_did(checkpoint, capsys):
    folder, policy, tokenizer = checkpoint
    words = ("--json", "--seed", 5, "--max-actions", 20, "--bkspc-bias", 3)
    found = json.loads(output(capsys, "sample", folder, PROMPT, *words))
    prompt = tokenizer.prompt(PROMPT + " ")  # the blank with which training prompts end
    (rollout,), _ = sample(policy, [prompt], Decoding(20, bkspc_bias=3.0), [5], batch=1)
    assert found["action_ids"] == rollout.actions and policy.bkspc in rollout.actions
    assert found["log_policy"] == pytest.approx(rollout.log_policy)
    assert found["text"] == tokenizer.decode(core.live_tokens(prompt, rollout.actions, policy.bkspc))
    assert "".join(found["actions"]) == tokenizer.render(rollout.actions)
    assert found["finished"] == rollout.finished


def test_deletions_are_visible(checkpoint, capsys, monkeypatch):
    folder, policy, _ = checkpoint
    words = ("sample", folder, PROMPT, "--seed", 5, "--max-actions", 20, "--bkspc-bias", 3)
    record = json.loads(output(capsys, *words, "--json"))
    deletions = record["action_ids"].count(policy.bkspc)
    piped = output(capsys, *words)
    assert piped.splitlines()[0] == PROMPT + " " + "".join(record["actions"])
    assert piped.splitlines()[1] == record["text"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert output(capsys, *words).count("⌫") == deletions > 0


def test_any_model_takes_back_by_rule(tmp_path, capsys):
    """A network and a tokenizer that have never heard of <bkspc>."""
    tokenizer = train_tokenizer(TEXTS)
    tokenizer.save(tmp_path / "any")
    tiny_llama(tokenizer.size).save_pretrained(tmp_path / "any")
    words = ("sample", tmp_path / "any", PROMPT, "--takeback-ratio", 0.6, "--max-actions", 30)
    found = json.loads(output(capsys, *words, "--json"))
    assert found["action_ids"].count(tokenizer.size) == found["log_policy"].count(None) > 0
    assert output(capsys, *words).splitlines()[1] == found["text"]
    assert "no trained policy" in error(capsys, *words[:3])
    assert "cannot load" in error(capsys, "sample", tmp_path / "none", "x", "--takeback-ratio", 0.6)


def test_a_folder_that_is_no_checkpoint(tmp_path, capsys):
    assert "no trained policy" in error(capsys, "sample", tmp_path, PROMPT)
    assert "no trained policy" in error(capsys, "export", tmp_path / "nowhere", tmp_path / "out")


def test_a_tokenizer_without_the_needed_tokens(checkpoint, tmp_path, capsys):
    trained_folder(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "</s>"}))
    assert "names no end token (eos_token)" in error(capsys, "sample", tmp_path, PROMPT)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"bkspc_id": 99}))
    assert "that the model was trained with" in error(capsys, "sample", tmp_path, PROMPT)
    assert "that the model was trained with" in error(capsys, "export", tmp_path, tmp_path / "out")


def test_a_prompt_that_does_not_fit(checkpoint, capsys):
    assert "prompt 0 (65 tokens) and max_actions" in error(capsys, "sample", checkpoint[0], "7" * 64)
    assert "lower max_actions" in error(capsys, "sample", checkpoint[0], "7" * 60, "--max-actions", 9)
    assert "'ö' of the text" in error(capsys, "sample", checkpoint[0], "Lösung:")


def test_a_folder_that_promises_any_context_is_sampled_from_up_to_a_bound(checkpoint, capsys, monkeypatch):
    folder, policy, tokenizer = checkpoint
    taken = []
    monkeypatch.setattr(policy, "context", 2**24)
    monkeypatch.setattr("sequencematch.cli.load_checkpoint", lambda _: (policy, tokenizer))

    def sample_nothing(policy, prompts, decoding, *_, **__):
        taken.append(decoding.max_actions)
        return [SimpleNamespace(actions=[], finished=False, log_policy=[])], None

    monkeypatch.setattr("sequencematch.sampling.rollout.sample", sample_nothing)
    output(capsys, "sample", folder, PROMPT, "--json")
    output(capsys, "sample", folder, PROMPT, "--json", "--max-actions", 10_000)  # as asked for
    assert taken == [8192, 10_000]


@pytest.mark.parametrize("device", ["tpu-pod", "cuda:99", "meta", "", "cpu:x", "mps:0:0", "cuda:-1", "\udcff"])
def test_a_device_that_is_not_there_or_computes_nothing(checkpoint, capsys, device):
    assert "no device" in error(capsys, "sample", checkpoint[0], PROMPT, "--device", device)


NUMBERS = {
    "--temperature": ["nan", "inf", "-1", "1e-38", "1e38", "hot", "1e999"],
    "--top-p": ["nan", "0", "-0.5", "1.5", "inf"],
    "--top-k": ["-1", "1.5", "nan", "9" * 5000],
    "--bkspc-bias": ["nan", "inf", "-inf", "1e30"],
    "--max-actions": ["0", "-3", "1e3", "nan"],
    "--seed": ["nan", "1.5", str(2**64), "9" * 5000],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in NUMBERS for value in NUMBERS[option]])
def test_a_number_that_cannot_be_is_refused_before_anything_is_loaded(capsys, option, value):
    with pytest.raises(SystemExit) as stopped:
        main(["sample", "nowhere", PROMPT, f"{option}={value}"])
    words = capsys.readouterr().err
    assert stopped.value.code == 2 and words.startswith(f"error: argument {option}: ") and words.count("\n") == 1


@pytest.mark.parametrize("command", ["sample", "trace"])
def test_a_prompt_that_is_no_text(command):
    """Bytes that are no UTF-8 reach Python as lone surrogates."""
    words = [b"sequencematch", command.encode(), b"<bos> \xff\xfe", b"<bos> \xff"]
    done = subprocess.run([sys.executable, "-m", "sequencematch.cli", *words[1:]], capture_output=True)
    assert done.returncode == 2 and b"is not valid UTF-8" in done.stderr and done.stderr.count(b"\n") == 1


def test_a_terminal_without_the_characters(checkpoint):
    command = [sys.executable, "-m", "sequencematch.cli", "trace", "<bos> ö", "⌫"]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and b"\\xf6" in done.stdout


def test_a_trace_that_would_fill_the_memory(capsys):
    assert "at most 2048 tokens" in error(capsys, "trace", "<bos>", "a " * 10**6)


def test_what_a_stranger_named_does_nothing_to_the_terminal(capsys):
    assert error(capsys, "sample", "\x1b[2J\x07", PROMPT) == (
        "error: no trained policy in '\\x1b[2J\\x07' (policy.json is missing)"
    )


def test_export_from_the_command_line(checkpoint, tmp_path, capsys):
    assert "wrote" in output(capsys, "export", checkpoint[0], tmp_path / "out")
    assert (tmp_path / "out/custom_generate/generate.py").is_file()


@given(st.randoms(use_true_random=False))
def test_a_trace_is_what_the_core_says(rng):
    random = random_trajectory(rng, longest=30, deletions=3)
    bkspc = 8
    name = {i: f"t{i}" for i in range(bkspc)} | {bkspc: "<bkspc>", 9: "<bkspc_2>", 10: "<bkspc_3>"}
    traced = trace([name[t] for t in random.prompt], [name[a] for a in random.actions])
    row = Trajectory(prompt=random.prompt, actions=random.actions, imitated=[True] * len(random.actions))
    tree, (tree_states,) = core.state_tree([[row]], bkspc)
    copies, copies_states = core.algorithm_2([row], bkspc)
    for form, inputs, states in (("state_tree", tree, tree_states), ("algorithm_2", copies, copies_states)):
        assert traced[form]["token"] == [name[t] for t in inputs.token[0].tolist()]
        assert torch.equal(torch.tensor(traced[form]["mask"]).bool(), inputs.dense_mask()[0])
        assert traced[form]["position"] == inputs.position[0].tolist()
        assert traced[form]["state"] == states.state[0].tolist()
        # Read off the printed mask and positions, the state of each action is the text that it was taken in.
        for node, state in zip(traced[form]["state"], traced["states"], strict=True):
            seen = [i for i, bit in enumerate(traced[form]["mask"][node]) if bit]
            assert [traced[form]["token"][i] for i in seen] == state
            assert [traced[form]["position"][i] for i in seen] == list(range(len(state)))
    assert render(traced).count("\n") > 8


def test_trace_prints_both_forms(checkpoint, capsys):
    text = output(capsys, "trace", "<bos> 2 + 2 =", "5 <bkspc> 4 <eos>")
    assert "state tree" in text and "Algorithm 2" in text
    words = "27<bkspc>83<bkspc_2>8<eos>", "--tokenizer", checkpoint[0], "--json"
    found = json.loads(output(capsys, "trace", PROMPTS[0], *words))
    assert found["prompt"][0] == "<bos>" and found["states"][-1] == [*found["prompt"], "2", "8", "<eos>"]
    assert found["actions"] == ["2", "7", "<bkspc>", "8", "3", "<bkspc_2>", "8", "<eos>"]
    assert found["state_tree"]["token"] == [*found["prompt"], "2", "7", "8", "3", "8", "<eos>"]
    assert found["algorithm_2"]["token"] == [*found["prompt"], "2", "7", "2", "8", "3", "2", "8", "<eos>"]


@pytest.mark.parametrize(("prompt", "actions"), [("<bos>", "5 <bkspc_2>"), ("", "5"), ("<bos> <bkspc>", "5")])
def test_what_cannot_be_traced(capsys, prompt, actions):
    assert "<bkspc>" in error(capsys, "trace", prompt, actions)
