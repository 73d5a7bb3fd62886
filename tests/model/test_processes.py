"""Several processes do what one does: same rollouts, same sums, checkpoints that any number of them can take up."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.experiment import SOURCE, command, finetune_options, launched, run
from support.training import KILLER

from sequencematch.model.processes import lone_device
from sequencematch.script import processes
from sequencematch.store.files import read_csv


def checkpoint(folder: Path) -> tuple[str, dict]:
    """Where the newest checkpoint lies, and what it holds."""
    file = max(folder.rglob("*.pt"))
    return str(file.relative_to(folder)), torch.load(file, weights_only=True)


@pytest.mark.cuda
@pytest.mark.slow
def test_two_processes_do_what_one_does_and_take_up_what_one_left(inputs, finetuned, tmp_path):
    """Runs of one and of two processes are killed, their checkpoints compared, and taken up by two and by one."""
    one, two = (finetune_options(inputs, tmp_path / name) for name in ("one", "two"))
    killed = tmp_path / "killed.py"
    killed.write_text(KILLER)
    for options, count in ((one, 1), (two, 2)):
        done = launched([sys.executable, str(killed), "step", "13", *command("finetune", **options)[1:]], count)
        assert done.returncode != 0 and not options["output"].exists()
    (place, single), (same_place, double) = (checkpoint(options["resume"]) for options in (one, two))
    assert place == same_place and "step-00000020" in place
    # Rollouts are the same but for ties that rounding decides; with this seed there is none.
    assert single["rollouts"] == double["rollouts"] and len(single["rollouts"]["buffer"]["entries"]) == 32
    for name, tensor in single["policy"].items():
        torch.testing.assert_close(double["policy"][name], tensor, rtol=1e-2, atol=1e-3)

    whole = finetuned("sm")
    for options, count in ((one, 2), (two, 1)):
        done = launched(command("finetune", **options), count)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("continuing from step 20") == 1
        for row, expected in zip(
            *(read_csv(model / "metrics.csv") for model in (options["output"], whole)), strict=True
        ):
            for name, value in expected.items():
                assert row[name] == value or float(row[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-4)
        for file in ("lm.safetensors", "actions.safetensors"):
            expected = load_file(whole / file)
            for name, tensor in load_file(options["output"] / file).items():
                torch.testing.assert_close(tensor, expected[name], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rate": 1e30}, "error: training diverged at step"),
        (
            {"batch": 1, "micro_batch": 1},
            "error: optimiser.batch gives 1 examples per step, fewer than there are processes (2)",
        ),
        ({"initial": "nowhere"}, "error: no trained policy in 'nowhere'"),
        ({"concurrent": True}, "error: rollouts.concurrent needs training by one process, not by 2"),
    ],
)
def test_what_is_wrong_is_said_once(inputs, tmp_path, change, sentence):
    done = launched(command("finetune", **finetune_options(inputs, tmp_path / "model") | change), 2)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == done.stderr.count(sentence) == 1
    assert done.stderr.count("Traceback") == 1  # the launcher's own
    assert not (tmp_path / "model").exists()


def test_a_job_that_was_promised_a_gpu_and_sees_none_ends_in_one_sentence(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run("finetune", check=False, gpus=1, **finetune_options(inputs, tmp_path / "model"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: this job was promised 1 GPU(s) and sees 0: ")


def test_a_script_that_trains_nothing_heeds_no_variables_of_a_launcher(monkeypatch):
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    lone_device(gpus=0)
    assert processes() == (0, 1)
    assert all("lone_device(args.gpus)" in (SOURCE / f"{name}.py").read_text() for name in ("sample", "judge"))


def test_denormal_numbers_are_zero_in_all_threads():
    """Intel CPUs compute them slowly, and the discounts of long rollouts give many."""
    program = """
import torch
torch.set_num_threads(2)
from sequencematch.model.processes import prepare_devices
prepare_devices(0)
tiny = torch.full((2_000_000,), 1e-20, requires_grad=True)
(tiny * 1e-20).sum().backward(torch.tensor(1e-20))
print(tiny.detach().mul(1e-20).count_nonzero().item(), tiny.grad.count_nonzero().item())
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.split() == ["0", "0"]
