import os
import subprocess
import sys

import pytest
import torch
from support.workflow import ROOT

from sequencematch import core, kernels

SETTINGS = "import torch, os; print(torch.backends.cpu.get_cpu_capability(), os.environ.get('MKL_CBWR'))"


def run(words: list[str], **environment: str) -> str:
    """What a script that is started with these options computes with."""
    code = f"import sys; from sequencematch import script; script.run(lambda: exec({SETTINGS!r}))"
    clean = {name: value for name, value in os.environ.items() if name not in kernels.PORTABLE}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=clean | environment, check=True, cwd=ROOT)
    return done.stdout.strip()


@pytest.mark.skipif(not kernels._has_avx2(), reason="this CPU has no AVX2")
def test_scripts_use_portable_kernels_unless_they_are_told_otherwise():
    assert run([]) == "AVX2 AVX2,STRICT"
    assert run(["--kernels", "native"]).endswith("None") and run(["--kernels=native"]).endswith("None")
    assert run(["--kernels", "compatible"], **kernels.PORTABLE) == "AVX2 COMPATIBLE"
    assert run([], MKL_CBWR="COMPATIBLE") == "AVX2 COMPATIBLE"  # the user's word counts


def test_native_takes_back_what_portable_set_and_nothing_else(monkeypatch):
    for name in kernels.PORTABLE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kernels, "_has_avx2", lambda: True)
    kernels.choose("portable")
    assert kernels.in_force() == "portable"
    kernels.choose("compatible")
    assert kernels.in_force() == "compatible"
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    kernels.choose("native")
    assert kernels.in_force() == "native" and os.environ["MKL_CBWR"] == "COMPATIBLE"
    assert not {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"} & os.environ.keys()


def test_a_cpu_without_avx2_is_left_alone(monkeypatch):
    for name in kernels.PORTABLE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kernels, "_has_avx2", lambda: False)
    kernels.choose("portable")
    assert not kernels.PORTABLE.keys() & os.environ.keys()


@pytest.mark.parametrize("scale", [0.1, 10, 100])
def test_logsumexp_is_torchs_with_its_gradient(scale):
    logits = torch.randn(40, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale
    logits[:, 0] = -torch.inf  # an action that is ruled out
    logits[3] = logits[3, 1]  # ties
    logits.requires_grad_()
    ours, theirs = core.logsumexp(logits), torch.logsumexp(logits, -1)
    assert torch.allclose(ours, theirs, atol=1e-12)
    (gradient,) = torch.autograd.grad(ours.sum(), logits)
    assert torch.allclose(gradient, logits.softmax(-1), atol=1e-12)
