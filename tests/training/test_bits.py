"""The digest of bits: repeatable, and another one with other kernels."""

import json
import os
import subprocess
import sys

import pytest

from sequencematch import kernels
from sequencematch.training import bits

DIGEST = "from sequencematch.training.bits import digest; print(digest())"


@pytest.mark.slow
@pytest.mark.skipif(not kernels._has_avx2(), reason="this CPU has no AVX2")
def test_the_digest_tells_kernels_apart():
    """What another CPU does to the bits, other kernels on this one do."""

    def digest(**environment: str) -> str:
        command = [sys.executable, "-c", DIGEST]
        environment = os.environ | kernels.PORTABLE | {"OMP_NUM_THREADS": "1"} | environment
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert digest() == digest() != digest(ATEN_CPU_CAPABILITY="default")


@pytest.mark.slow
@pytest.mark.skipif(not kernels._has_avx2(), reason="this CPU has no AVX2")
def test_compatible_kernels_round_alike_on_all_makers_cpus():
    """An Intel Xeon and an AMD EPYC gave this digest. It changes where what a step computes is changed on purpose."""
    assert bits.compatible_digest() == "6bc636073fab8abd"


def test_the_sentence_follows_the_kept_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(bits, "digest", lambda: "a")
    monkeypatch.setattr(bits, "compatible_digest", lambda: "c")
    assert bits.rounding(tmp_path) == ""
    for kept, said in (("a", "rounds as the one"), ("b", "rounds differently from the one that made the kept tables")):
        (tmp_path / "provenance.json").write_text(json.dumps({"bits": kept}))
        assert said in bits.rounding(tmp_path)
        assert "compatible" not in bits.rounding(tmp_path)
    (tmp_path / "provenance.json").write_text(json.dumps({"bits": "b", "bits_compatible": "c"}))
    assert "With jobs.kernels: compatible both round alike" in bits.rounding(tmp_path)
    (tmp_path / "provenance.json").write_text("{}")  # kept before there were digests, or with native kernels
    assert bits.rounding(tmp_path) == ""
