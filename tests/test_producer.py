"""Rollouts drawn beside training: bounded and recorded staleness, the same bits always, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from experiment import ROLLOUTS, SOURCE, command, finetune_options, make_inputs, run
from test_training import KILLER, a_run, content

from sequencematch import training
from sequencematch.errors import UserError
from sequencematch.policy import load_policy, trained_tensors
from sequencematch.replay import ReplayBuffer
from sequencematch.settings import Rollouts
from sequencematch.training import Stage

pytestmark = pytest.mark.slow  # every process imports torch and transformers

INTERVAL = ROLLOUTS["generate"] * ROLLOUTS["seen"] // 8


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("experiment")
    make_inputs(root)
    return root


# ---- what a process's copy of the policy is made by --------------------------------------------------


def sound(folder):
    return load_policy(folder, backspace=True)[0]


def slow(folder):
    policy = sound(folder)
    policy.lm.get_decoder().register_forward_pre_hook(lambda *_: time.sleep(0.05))
    return policy


def failing(folder):
    raise RuntimeError("no policy today")


def refused(folder):
    raise UserError("this policy cannot be had")


def killed(folder):
    policy = sound(folder)
    policy.lm.get_decoder().register_forward_pre_hook(lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    return policy


# ---- results -----------------------------------------------------------------------------------------


def trained(inputs, monkeypatch, build=sound, **rollouts):
    """Weights, metrics, and of every rollout that entered the buffer: (step, step of its weights, example)."""
    entered = []

    def add(buffer, entries):
        entered.extend((trainer.step, entry.step, entry.example) for entry in entries)
        buffer.entries.extend(entries)

    monkeypatch.setattr(ReplayBuffer, "add", add)
    policy = sound(inputs / "pretrain_bc")
    plan = a_run(inputs, policy, Stage("sm", 10, 30, 10, 30))
    plan = replace(plan, rollouts=Rollouts(**ROLLOUTS, **rollouts), rebuild=partial(build, inputs / "pretrain_bc"))
    trainer = training._Trainer(plan)
    try:
        metrics, _ = trainer.train()
    finally:
        trainer.producer.close()
    waited = sum(row.pop("rollout_wait", 0) for row in metrics)
    return trained_tensors(policy), metrics, entered, waited


def same(one, other):
    return all(torch.equal(one[0][name], other[0][name]) for name in one[0]) and one[1:3] == other[1:3]


def test_staleness_is_bounded_and_recorded_and_results_depend_on_nothing_else(inputs, monkeypatch):
    here = trained(inputs, monkeypatch)
    assert here[3] == 0 and all(step == made for step, made, _ in here[2])
    assert same(here, trained(inputs, monkeypatch, concurrent=True, staleness=0))
    runs = [
        (staleness, trained(inputs, monkeypatch, build, concurrent=True, staleness=staleness))
        for staleness, build in ((100, sound), (3, sound), (3, slow))
    ]
    for staleness, beside in runs:
        ages = {step - 10: step - made for step, made, _ in beside[2]}
        # The first generation is waited for; a later one is begun when the one before has been collected, or later.
        oldest = min(staleness, INTERVAL)
        assert ages == {0: 0, INTERVAL: oldest, 2 * INTERVAL: oldest}
        assert [(step, example) for step, _, example in beside[2]] == [(step, example) for step, _, example in here[2]]
        assert not same(here, beside)
    (_, quick), (_, late) = runs[1:]
    assert same(quick, late) and late[3] > quick[3] + 0.2  # slower by what was waited, and otherwise the same


@pytest.mark.parametrize(("place", "countdown"), [("step", 13), ("step", 17)])
def test_a_killed_run_resumes_to_the_same_bits(inputs, tmp_path, place, countdown):
    """Killed while a generation is under way; checkpoints, every five steps, hold what had been begun."""
    whole = finetune_options(inputs, tmp_path / "whole") | {"staleness": 6}
    done = run("finetune", "--concurrent", **whole)
    assert "Traceback" not in done.stderr
    options = finetune_options(inputs, tmp_path / "model") | {"staleness": 6}
    words = [sys.executable, "-c", KILLER, place, str(countdown), *command("finetune", "--concurrent", **options)[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    ended = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    resumed = run("finetune", "--concurrent", **options)
    assert "continuing from step" in resumed.stdout
    assert content(tmp_path / "model")[:2] == content(tmp_path / "whole")[:2]
    assert not (tmp_path / "model-resume").exists() or not list((tmp_path / "model-resume").rglob("*.pt"))


# ---- ends --------------------------------------------------------------------------------------------


def test_the_failure_of_the_process_is_the_runs_and_one_sentence(inputs, monkeypatch, capfd):
    for build, sentence in (
        (failing, "process that draws rollouts has ended .exit status 1"),
        (refused, "this policy cannot be had"),
        (killed, "process that draws rollouts has ended .exit status -9"),
    ):
        with pytest.raises(UserError, match=sentence):
            trained(inputs, monkeypatch, build, concurrent=True)
    told = capfd.readouterr().err
    assert told.count("Traceback") == 1 and "RuntimeError: no policy today" in told
    assert not [child for child in psutil.Process().children(recursive=True) if "spawn_main" in child.cmdline()[-2]]


def test_whatever_ends_training_ends_the_process_too(inputs, tmp_path):
    before = set(os.listdir("/dev/shm"))
    # Checkpoints, which come every five steps, show that it is under way; there are more steps than it will take.
    runs = {}
    for ending in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        options = finetune_options(inputs, tmp_path / ending.name) | {"steps": 1_000_000, "checkpoint_every": 50}
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        runs[ending] = subprocess.Popen(
            command("finetune", "--concurrent", **options), env=environment, stderr=subprocess.PIPE, text=True
        )
    for ending, trainer in runs.items():
        wait_for(partial(checkpoints, tmp_path / f"{ending.name}-resume"))
        processes = psutil.Process(trainer.pid).children(recursive=True)
        assert processes
        trainer.send_signal(ending)
        trainer.communicate(timeout=20)
        assert trainer.returncode in (-ending, 1)
        wait_for(partial(all_gone, processes), 10)
    assert set(os.listdir("/dev/shm")) <= before


def checkpoints(folder):
    return list(folder.rglob("*.json"))


def all_gone(processes):
    return not psutil.wait_procs(processes, timeout=0.1)[1]


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
