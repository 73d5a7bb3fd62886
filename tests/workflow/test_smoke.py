"""The smoke scale for real: every script, run as `make` runs it, and the tables checked against their source."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from support.workflow import launch

from sequencematch.store.files import read_csv


@pytest.mark.slow
def test_tables_say_what_the_samples_say(smoke):
    runs = sorted((smoke / "results/smoke/mul").glob("*/eta=*/seed=*/samples.jsonl"))
    assert len(runs) == 2 * 4  # two seeds of mle, bc, sm and sm_js
    cells = read_csv(smoke / "results/smoke/tables/table6.csv")
    table = {(c["method"], float(c["eta"]), c["decoding"]): c for c in cells if c["quantity"] == "accuracy"}
    by_variant = {}
    for file in runs:
        method, eta = file.parts[-4], float(file.parts[-3].removeprefix("eta="))
        for sample in map(json.loads, file.read_text().splitlines()):
            right = sample["finished"] and sample["text"] == sample["solution"]
            by_variant.setdefault((method, eta, sample["decoding"]), []).append(right)
    compared = by_variant.keys() & table.keys()
    assert {method for method, _, _ in compared} == {"mle", "bc", "sm"}
    for key in compared:
        assert float(table[key]["mean"]) == pytest.approx(sum(by_variant[key]) / len(by_variant[key]))


@pytest.mark.slow
def test_everything_a_table_promises_is_there(smoke):
    for name in ("table5", "table6", "divergences"):
        text = (smoke / f"results/smoke/tables/{name}.md").read_text()
        assert all(words in text for words in ("repair rate", "perturbed at 0.1", "In short"))
        assert (smoke / f"results/smoke/tables/{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (smoke / "results/smoke/tables/table8.html").read_text()
    assert all(words in page for words in ("answered at once", "MAUVE", "real text", "In short"))
    assert (smoke / "results/smoke/figures/motivating_example.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_second_run_finds_nothing_to_do(smoke):
    done = launch(smoke, "all")
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_job_run_by_hand_ends_with_the_same_bits(smoke, tmp_path):
    """The run's own job was forked from a process with warm imports; this one starts from nothing."""
    model = smoke / "results/smoke/mul/sm/eta=0.2/seed=2/model"
    words = shlex.split(json.loads((model / "provenance.json").read_text())["command"])
    for option in ("--output", "--resume"):
        words[words.index(option) + 1] = str(tmp_path / option.strip("-"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as the rule has it: sums of more threads round differently
    done = subprocess.run([sys.executable, *words], cwd=smoke, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for name in ("lm.safetensors", "actions.safetensors", "metrics.csv"):
        assert (tmp_path / "output" / name).read_bytes() == (model / name).read_bytes()
