"""A tiny experiment on disk, and the scripts as a user runs them."""

import atexit
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from sequencematch.script import Parser
from sequencematch.settings.data import Arithmetic, Graphs, Language, Source, Text, Translation
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.model import Model
from sequencematch.settings.noise import Noise
from sequencematch.settings.options import option
from sequencematch.settings.overheads import Overhead
from sequencematch.settings.section import Section
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule

SOURCE = Path(__file__).resolve().parents[2] / "src"
WARM = SOURCE.parent / "workflow/launcher/warm/python"

TINY = {
    "batch": 8,
    "micro_batch": 8,
    "warmup": 5,
    "base_steps": 10,
    "pretrain_steps": 10,
    "steps": 30,
    "decay_start": 10,
    "metrics_every": 4,
    "validate_every": 10,
    "checkpoint_every": 5,
}
ROLLOUTS = {"buffer": 32, "generate": 16, "seen": 4, "max_actions": 12}


# The sections that each script takes settings of. What a test does not give has the default of its class.
TRAINING = (Optimiser, Schedule, Objective)
SECTIONS: dict[str, tuple[type[Section], ...]] = {
    "make_arithmetic": (Arithmetic,),
    "make_graphs": (Graphs,),
    "make_translation": (Translation, Source),
    "make_text": (Text, Source),
    "train_tokenizer": (Language, Model),
    "encode_examples": (Translation, Text),
    "inject_noise": (Noise, Model),
    "pretrain_base": (Model, *TRAINING),
    "pretrain_bc": TRAINING,
    "finetune": (*TRAINING, Rollouts),
    "sample": (Evaluation, Noise),
    "judge": (Evaluation,),
    "measure_overheads": (Overhead, Model),
}


def command(script: str, *arguments, **options) -> list[str]:
    """The command line of a script in ``src``, with all settings that it takes.

    A keyword with the name of a setting gives its value, if the script reads it (``source_`` stands before those of a
    corpus); other keywords become ``--kebab-case`` options.
    """
    words = [sys.executable, str(SOURCE / f"{script}.py"), *map(str, arguments)]
    taken = _taken(script)
    for section in SECTIONS.get(script, ()):
        for name in section.model_fields:
            value = options.pop(("source_" if section is Source else "") + name, section.model_fields[name].default)
            if option(section, name) in taken:
                words += [option(section, name), *_words(value)]
    if script == "encode_examples" and "context" in options:  # otherwise that of a pretrained model's tokenizer
        words += ["--model.context", str(options.pop("context"))]
    for name, value in options.items():
        words += ["--" + name if "." in name else "--" + name.replace("_", "-"), *_words(value)]
    return words


@cache
def _taken(script: str) -> frozenset[str]:
    """The settings that a script takes as options."""
    actions = parser_of(SOURCE / f"{script}.py")._actions
    return frozenset(name for action in actions for name in action.option_strings if "." in name)


def parser_of(file: Path) -> Parser:
    """The parser of a script, which is run, in this process, until it asks for its options."""

    class Stop(Exception):
        pass

    def stop(parser, *_):
        raise Stop(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse_args", stop)
        patch.setattr("sequencematch.script.run", lambda main, **_: main())
        patch.setattr(sys, "path", [str(file.parent), *sys.path])
        patch.setattr(sys, "argv", [str(file)])
        with pytest.raises(Stop) as stopped:
            runpy.run_path(str(file), run_name="__main__")
    return stopped.value.args[0]


def _words(value) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [str(v).lower() if isinstance(v, bool) else str(v) for v in values]


def run(script: str, *arguments, check: bool = True, **options) -> subprocess.CompletedProcess:
    """Run a script with one thread; with ``check`` its failure fails the test, with its output.

    As in a run on one machine, all scripts that tests start share one start of torch (workflow/launcher/warm).
    """
    _, *words = command(script, *arguments, **options)
    server = {"SEQUENCEMATCH_RUN_PID": str(os.getpid()), "SEQUENCEMATCH_PYTHON": sys.executable}
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | server
    done = subprocess.run([WARM, *words], capture_output=True, text=True, env=environment, cwd=_started_from())
    assert not check or done.returncode == 0, done.stderr
    return done


@cache
def _started_from() -> str:
    """The folder where that server has its socket."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def launched(words: list[str], processes: int) -> subprocess.CompletedProcess:
    """Run a Python command line (``command``) in so many processes on the CPU, started as on several GPUs."""
    options = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher = ["-m", "accelerate.commands.launch", *options] if processes > 1 else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(SOURCE)}
    return subprocess.run([words[0], *launcher, *words[1:]], capture_output=True, text=True, env=environment)


def make_inputs(root: Path) -> None:
    """Data, tokenizer, clean and noised examples, a base model and BC's k steps, under ``root``."""
    run("make_arithmetic", generator="mul", entropy=(1, 2), train=200, validation=40, test=40, output=root / "data")
    run("train_tokenizer", data=root / "data", output=root / "tokenizer")
    tokenizer = root / "tokenizer"
    run("encode_examples", data=root / "data", tokenizer=tokenizer, output=root / "examples")
    files = {"examples": root / "examples", "tokenizer": tokenizer}
    for eta in (0, 0.2):
        run("inject_noise", **files, output=root / f"noised-{eta}", eta=eta, seed=1)
    common = {"tokenizer": root / "tokenizer", "resume": root / "resume", "seed": 1}
    shape = {"layers": 1, "width": 16, "heads": 2}
    run("pretrain_base", **common, **shape, **TINY, noised=root / "noised-0", output=root / "base")
    noised = root / "noised-0.2"
    run("pretrain_bc", **common, **TINY, noised=noised, initial=root / "base", output=root / "pretrain_bc")


def finetune_options(root: Path, output: Path, loss: str = "sm") -> dict:
    """The options of ``finetune`` on that experiment, checkpoints beside the output."""
    return {
        "loss": loss,
        "noised": root / ("noised-0.2" if LOSSES[loss].noised else "noised-0"),
        "initial": root / ("pretrain_bc" if LOSSES[loss].continues_bc else "base"),
        "tokenizer": root / "tokenizer",
        "output": output,
        "resume": output.with_name(output.name + "-resume"),
        "seed": 1,
        **TINY,
        **ROLLOUTS,
    }
