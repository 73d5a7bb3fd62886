"""Rollouts drawn beside training: bounded and recorded staleness, the same bits always, and no process left behind."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from functools import partial

import psutil
import pytest
import torch
from support.experiment import ROLLOUTS, command, finetune_options, run
from support.training import a_run, finetune_until
from support.workflow import is_running, wait_for

from sequencematch.errors import UserError
from sequencematch.model.build import load_policy
from sequencematch.model.policy import trained_tensors
from sequencematch.settings.training import Rollouts
from sequencematch.store.files import read_csv
from sequencematch.training.replay import ReplayBuffer
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import Trainer

pytestmark = pytest.mark.slow  # every process imports torch and transformers

BESIDE = {"concurrent": True, "staleness": 6}
INTERVAL = ROLLOUTS["generate"] * ROLLOUTS["seen"] // 8


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
    """Weights, metrics, of every rollout that entered the buffer (step of the stage, step of its weights, example), and
    the seconds waited for them.
    """
    entered = []

    def add(buffer, entries):
        entered.extend((trainer.step - 10, entry.step, entry.example) for entry in entries)
        buffer.entries.extend(entries)

    monkeypatch.setattr(ReplayBuffer, "add", add)
    policy = sound(inputs / "pretrain_bc")
    plan = a_run(inputs, policy, Stage("sm", 10, 30, 10, 30))
    rebuild, schedule = partial(build, inputs / "pretrain_bc"), plan.schedule.model_copy(update={"metrics_every": 1})
    plan = replace(plan, rollouts=Rollouts(**ROLLOUTS, **rollouts), rebuild=rebuild, schedule=schedule)
    trainer = Trainer(plan)
    try:
        metrics, _ = trainer.train()
    finally:
        trainer.close()
    _first, *later = [row.pop("rollout_wait", 0.0) for row in metrics]  # the first one waits for the process itself
    return trained_tensors(policy), metrics, entered, sum(later)


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
        ages = {step: step - made for step, made, _ in beside[2]}
        # The first generation is waited for; a later one is begun when the one before has been collected, or later.
        oldest = min(staleness, INTERVAL)
        assert ages == {0: 0, INTERVAL: oldest, 2 * INTERVAL: oldest}
        assert [(step, example) for step, _, example in beside[2]] == [(step, example) for step, _, example in here[2]]
        assert not same(here, beside)
    (_, quick), (_, late) = runs[1:]
    assert same(quick, late) and late[3] > 0.3  # two generations of a dozen slow forward passes, three steps each


def test_a_killed_run_resumes_to_the_same_bits(inputs, tmp_path):
    """Killed at step 26; the generation that enters there was begun at 20, so the checkpoint of 25 has to hold it."""
    whole, model = (finetune_options(inputs, tmp_path / name) | BESIDE for name in ("whole", "model"))
    done = run("finetune", **whole)
    assert "Traceback" not in done.stderr
    finetune_until("step", 17, model)
    resumed = run("finetune", **model)
    assert "continuing from step 25" in resumed.stdout
    for name in ("lm.safetensors", "actions.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    one, other = (rows(tmp_path / name) for name in ("model", "whole"))
    assert one == other and len(one) > 3


def rows(folder):
    """What the metrics file says, save what differs from run to run."""
    return [{k: v for k, v in row.items() if k != "rollout_wait"} for row in read_csv(folder / "metrics.csv")]


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
    # A checkpoint shows that it is under way; there are more steps than it will take.
    runs = {}
    for ending in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        options = finetune_options(inputs, tmp_path / ending.name) | BESIDE | {"steps": 1_000_000}
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
        words = command("finetune", **options)
        runs[ending] = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, preexec_fn=heed)
    try:
        for ending, trainer in runs.items():
            wait_for(lambda folder=tmp_path / f"{ending.name}-resume": any(folder.rglob("*.json")), 120)
            processes = psutil.Process(trainer.pid).children(recursive=True)
            assert processes
            trainer.send_signal(ending)
            trainer.communicate(timeout=60)
            assert trainer.returncode in (-ending, 128 + ending, 1)
            wait_for(lambda processes=processes: not any(map(is_running, processes)), 10)
    finally:
        for trainer in runs.values():
            trainer.kill()
    assert set(os.listdir("/dev/shm")) <= before
