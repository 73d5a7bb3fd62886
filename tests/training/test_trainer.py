"""Training: resumed runs end where uninterrupted ones do, steps add up, and failures lose nothing."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from support.experiment import ROLLOUTS, TINY, finetune_options, run
from support.malicious import Malicious
from support.training import a_run, finetune_until

from sequencematch.model.build import load_policy
from sequencematch.model.policy import trained_tensors
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.training import Optimiser, Rollouts, Schedule
from sequencematch.store.files import read_csv
from sequencematch.training import losses
from sequencematch.training.losses import score_rows
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import train

WEIGHTS = ("lm.safetensors", "actions.safetensors", "metrics.csv")


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in WEIGHTS]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "countdown"), [("step", 13), ("write", 2), ("rename", 4)])
def test_killed_run_resumes_to_the_same_bits(inputs, finetuned, tmp_path, place, countdown):
    options = finetune_options(inputs, tmp_path / "model")
    finetune_until(place, countdown, options)
    assert not (tmp_path / "model").exists()
    resumed = run("finetune", **options)
    if (place, countdown) == ("step", 13):
        assert "continuing from step 20" in resumed.stdout
    assert content(tmp_path / "model") == content(finetuned("sm"))
    assert not list((tmp_path / "model-resume").rglob("*.pt"))


def test_damaged_checkpoint_is_named_and_an_earlier_one_used(inputs, finetuned, tmp_path):
    options = finetune_options(inputs, tmp_path / "model")
    finetune_until("step", 19, options)
    newest = max((tmp_path / "model-resume").rglob("*.pt"))
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    newest.write_bytes(damaged)
    resumed = run("finetune", **options)
    assert str(newest) in resumed.stderr and "damaged" in resumed.stderr
    assert "continuing from step 20" in resumed.stdout
    assert content(tmp_path / "model") == content(finetuned("sm"))


def test_a_diverging_run_stops_with_one_sentence_and_keeps_its_last_good_state(inputs, tmp_path):
    options = finetune_options(inputs, tmp_path / "model") | {"learning_rate": 1e30}
    done = run("finetune", check=False, **options)
    assert done.returncode == 1
    assert "error: training diverged at step" in done.stderr and "Traceback" not in done.stderr
    (kept,) = {file.parent for file in (tmp_path / "model-resume").rglob("*.pt")}
    state = torch.load(max(kept.glob("*.pt")), weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state["policy"].values())
    assert not (tmp_path / "model").exists()


def test_a_stage_cut_in_two_is_the_stage(inputs):
    def staged(*bounds):
        policy, _ = load_policy(inputs / "base", backspace=True)
        state = None
        for start, stop in bounds:
            _, state = train(a_run(inputs, policy, Stage("bc", start, stop, 10, 30), initial=state))
        return trained_tensors(policy)

    whole, halves = staged((0, 20)), staged((0, 10), (10, 20))
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_a_stage_has_its_own_weight_decay(inputs):
    """A method that goes on from the k steps of BC has the settings it was given, not those of that stage."""

    def weights(decay):
        policy, _ = load_policy(inputs / "base", backspace=True)
        first = Optimiser(batch=8, micro_batch=8, warmup=1, weight_decay=0.0)
        _, state = train(a_run(inputs, policy, Stage("bc", 0, 3, 10, 30), optimiser=first))
        second = first.model_copy(update={"weight_decay": decay})
        train(a_run(inputs, policy, Stage("bc", 3, 6, 10, 30), optimiser=second, initial=state))
        return trained_tensors(policy)

    plain, decayed = weights(0.0), weights(0.5)
    assert any(not torch.equal(plain[name], decayed[name]) for name in plain)


def test_dropout_is_of_training_alone_and_repeats(inputs):
    def trained(dropout):
        policy, _ = load_policy(inputs / "base", backspace=False)
        settings = Optimiser(batch=8, micro_batch=8, warmup=1, dropout=dropout)
        train(a_run(inputs, policy, Stage("mle", 0, 3, 3, 3), optimiser=settings))
        return policy

    def equal(one, other):
        return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

    policy, again, without = trained(0.5), trained(0.5), trained(0.0)
    assert equal(policy, again) and not equal(policy, without)
    token = torch.arange(5)[None]
    policy.eval()
    assert torch.equal(policy.lm(token).logits, policy.lm(token).logits)
    policy.train()
    assert not torch.equal(policy.lm(token).logits, policy.lm(token).logits)


@pytest.mark.parametrize("loss", ["mle", "iq", "bc", "sm", "uls", "dagger"])
def test_accumulation_changes_nothing(inputs, loss):
    def trained(micro_batch):
        policy, _ = load_policy(inputs / "base", backspace=LOSSES[loss].backspace)
        optimiser = Optimiser(batch=8, micro_batch=micro_batch, warmup=5)
        metrics, _ = train(a_run(inputs, policy, Stage(loss, 0, 3, 3, 3), optimiser=optimiser))
        return metrics[-1]

    # Weights are no measure here: Adam's first steps turn a gradient's rounding error into a step of full size.
    whole, parts = trained(8), trained(2)
    assert whole.keys() == parts.keys()
    assert all(math.isclose(whole[name], parts[name], rel_tol=1e-4, abs_tol=1e-6) for name in whole)


@pytest.mark.parametrize("shared", [False, True])
def test_data_are_those_of_the_step_or_of_the_rollouts_prompts(inputs, monkeypatch, shared):
    def encoded(loss):
        calls = []

        def recorded(policy, rows, *options):
            calls.append(rows)
            return score_rows(policy, rows, *options)

        monkeypatch.setattr(losses, "score_rows", recorded)
        policy, _ = load_policy(inputs / "base", backspace=True)
        train(replace(a_run(inputs, policy, Stage(loss, 0, 3, 3, 3)), rollouts=rollouts))
        return calls

    rollouts = Rollouts(**ROLLOUTS, share_prompts=shared)
    matching = encoded("sm")
    if shared:
        rows = [row for call in matching[:3] for row in call]
        assert {len(row) for row in rows} == {2} and all(data.prompt == model.prompt for data, model in rows)
    else:
        assert matching[:6:2] == encoded("bc")[:3]
        prompts = [[[row[0].prompt for row in call] for call in matching[k:6:2]] for k in range(2)]
        assert prompts[0] != prompts[1]
        # What is imitated has equal size: half of DAgger's sequences are relabelled rollouts.
        assert sum(map(len, encoded("dagger"))) == sum(map(len, encoded("bc")))


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_every_method_learns_and_reports(inputs, finetuned, loss):
    rows = read_csv(finetuned(loss) / "metrics.csv")
    assert [int(row["step"]) for row in rows][-1] == TINY["steps"]
    initial = inputs / ("pretrain_bc" if LOSSES[loss].continues_bc else "base")
    before = float(read_csv(initial / "metrics.csv")[-1]["validation_loss"])
    assert float(rows[-1]["validation_loss"]) < before - 0.3
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) - 0.3
    if loss == "sm":
        expected = {"r_data", "r_rollout", "v_tail", "pop_rate", "rollout_age", "gradient_norm", "beta"}
        expected |= {"cut_off_share"}
        assert expected <= rows[0].keys()


def test_half_precision_trains_float32_weights(inputs):
    AcceleratorState._reset_state()  # one process has one precision, save in tests
    policy, _ = load_policy(inputs / "base", backspace=True)
    run = replace(a_run(inputs, policy, Stage("sm", 0, 3, 3, 3)), precision="bfloat16")
    metrics, _ = train(run)
    AcceleratorState._reset_state()
    whole, _ = load_policy(inputs / "base", backspace=True)
    exact, _ = train(a_run(inputs, whole, Stage("sm", 0, 3, 3, 3)))
    assert {tensor.dtype for tensor in trained_tensors(policy).values()} == {torch.float32}
    assert metrics != exact  # the loss of a step may round to the same number, not all that is reported of it
    assert metrics[-1]["loss"] == pytest.approx(exact[-1]["loss"], rel=0.02)


def test_schedule():
    stage, settings = Stage("sm", 10, 30, 20, 30), Optimiser(learning_rate=1.0, warmup=4)
    rates = [stage.learning_rate(step, settings) for step in range(30)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and set(rates[4:21]) == {1.0}
    assert rates[25] == pytest.approx(0.5) and rates[29] == pytest.approx((1 + math.cos(0.9 * math.pi)) / 2)
    schedule = Schedule(pretrain_steps=10, steps=30, beta_steps=5, beta_final=0.2)
    assert [stage.beta(step, schedule) for step in (10, 15, 29)] == pytest.approx([1, 0.2, 0.2])
    assert stage.beta(12, schedule) == pytest.approx(1 - 0.8 * 2 / 5)


@pytest.mark.slow
def test_a_malicious_or_truncated_optimiser_state_ends_the_script_in_one_sentence(inputs, tmp_path):
    options = finetune_options(inputs, tmp_path / "model") | {"initial": tmp_path / "initial"}
    shutil.copytree(inputs / "pretrain_bc", tmp_path / "initial")
    file = tmp_path / "initial/optimiser.pt"
    sound = file.read_bytes()
    for damage in (lambda: torch.save(Malicious(tmp_path / "ran"), file), lambda: file.write_bytes(sound[:1000])):
        damage()
        done = run("finetune", check=False, **options)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"error: '{file}' is damaged (")
    assert not (tmp_path / "ran").exists()
