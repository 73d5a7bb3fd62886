"""Small training runs, and a process that kills itself at a chosen place."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from sequencematch.settings.losses import LOSSES
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule
from sequencematch.training.batches import load_corpora
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import Run
from support.experiment import ROLLOUTS, SOURCE, command
from support.tiny import EOS

# Runs a script and kills its process, as `kill -9` would, the n-th time it reaches a place in the code.
KILLER = """
import os, runpy, signal, sys
place, countdown, script = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.argv = sys.argv[3:]

def killing(function, before):
    def wrapped(*arguments, **options):
        global countdown
        countdown -= 1
        if countdown == 0:
            before(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return wrapped

if place == "step":
    import torch
    torch.optim.AdamW.step = killing(torch.optim.AdamW.step, lambda *a: None)
elif place == "write":
    import torch
    def half(state, file, **options):
        file.write(b"half a checkpoint"); file.flush()
    torch.save = killing(torch.save, half)
elif place == "rename":
    os.rename = killing(os.rename, lambda *a: None)
runpy.run_path(script, run_name="__main__")
"""


def finetune_until(place: str, count: int, options: dict) -> None:
    """Fine-tune, and kill the process when it reaches a place (``KILLER``) for the count-th time."""
    words = [sys.executable, "-c", KILLER, place, str(count), *command("finetune", **options)[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr


def a_run(root: Path, policy, stage: Stage, optimiser: Optimiser | None = None, initial: dict | None = None) -> Run:
    corpus, validation = load_corpora(root / ("noised-0.2" if LOSSES[stage.loss].noised else "noised-0"), EOS)
    return Run(
        policy=policy,
        train=corpus,
        validation=validation,
        stage=stage,
        optimiser=optimiser or Optimiser(batch=8, micro_batch=8, warmup=5),
        schedule=Schedule(pretrain_steps=1, steps=30, checkpoint_every=1000),
        objective=Objective(),
        rollouts=Rollouts(**ROLLOUTS),
        seed=1,
        resume=root / "no checkpoint here",
        initial=initial,
    )
