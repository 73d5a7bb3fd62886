"""What several test files share: random trajectories with mistakes and repairs, and tiny networks."""

import fcntl
import os
import shutil

import pytest
import torch
from hypothesis import settings
from support import reduced
from support.experiment import finetune_options, make_inputs, run
from support.workflow import ROOT, launch

from sequencematch import kernels

# Derandomised: a failure is seen by everyone, always.
settings.register_profile("sequencematch", deadline=None, derandomize=True, max_examples=200)
settings.load_profile("sequencematch")

# `make test` hands these to its commands; a make that a test starts would take itself for a part of it.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(name, None)

# Where SLURM is installed and no cluster is running, each start of Snakemake would wait nine seconds for one.
os.environ["SLURM_CONF"] = os.devnull

kernels.choose("portable")  # as every script does; torch has computed nothing yet
torch.set_num_threads(1)  # tensors here are tiny: a second thread only waits for the first


@pytest.fixture(autouse=True)
def denormals():
    """What a test lets the CPU do with denormal numbers (``prepare_devices``) ends with it: hypothesis draws them."""
    yield
    torch.set_flush_denormal(False)


def pytest_collection_modifyitems(items):
    """Files with the longest tests come first: begun last, one of them would run alone when all others have ended."""
    marks = {}
    for item in items:
        marks.setdefault(item.path, set()).update(mark.name for mark in item.iter_markers())
    items.sort(key=lambda item: ("long" not in marks[item.path], "slow" not in marks[item.path]))


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Makes a folder that all tests read and none changes, once: whichever worker comes first."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared

    def made(name, make):
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / name).exists():
                (shared / name).mkdir()
                make(shared / name)
        return shared / name

    return made


@pytest.fixture(scope="session")
def inputs(once):
    """A tiny experiment (experiment.py): data, and the models before fine-tuning."""
    return once("inputs", make_inputs)


@pytest.fixture(scope="session")
def finetuned(once, inputs):
    """The model that a loss fine-tunes on that experiment: ``finetuned("sm")``."""

    def trained(loss):
        def make(folder):
            run("finetune", **finetune_options(inputs, folder / "model", loss))

        return once(f"finetuned-{loss}", make) / "model"

    return trained


@pytest.fixture(scope="session")
def uninterrupted(once):
    """The reduced plan (reduced.py), run on this machine without interruption."""

    def make(tree):
        reduced.run(reduced.make_tree(tree))

    return once("uninterrupted", make)


@pytest.fixture(scope="session")
def smoke(once):
    """The project with its smoke scale finished."""

    def make(tree):
        reduced.make_tree(tree)
        for part in ("trials", "examples", "tests", "README.md"):  # documents name them
            (tree / part).symlink_to(ROOT / part)
        launch(tree, "all")

    return once("smoke", make)


@pytest.fixture(scope="module")
def smoke_copy(smoke, tmp_path_factory):
    """A module's own copy of the finished smoke scale, in which it may run more."""
    tree = tmp_path_factory.mktemp("copy") / "smoke"
    # Runs that go on in the original come and go in these.
    left_out = shutil.ignore_patterns("locks", "log", "incomplete", "*.lock", "*.partial", "warm")
    shutil.copytree(smoke, tree, symlinks=True, ignore=left_out)
    return tree
