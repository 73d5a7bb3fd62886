"""`make verify` tells sound results from damaged ones, and present from outdated ones."""

import json
import re
import subprocess
import sys

import pytest
from support import reduced


def verify(tree, settings=reduced.SETTINGS):
    words = [sys.executable, "workflow/launcher/verify.py", "--config", *settings]
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True)
    names = ("present", "outdated", "damaged", "missing")
    numbers = re.search(
        r"Of \d+ results, (\d+) are from .*, (\d+) from other .*, (\d+) damaged, (\d+) not made", done.stdout
    )
    assert numbers, done.stdout + done.stderr
    return done, dict(zip(names, map(int, numbers.groups()), strict=True))


@pytest.fixture
def tree(uninterrupted, tmp_path):
    """A copy of finished results."""
    subprocess.run(["cp", "-a", uninterrupted / "results", uninterrupted / ".snakemake", tmp_path], check=True)
    return reduced.make_tree(tmp_path)


@pytest.mark.slow
def test_finished_results_are_present_and_sound(tree):
    done, counts = verify(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert counts["present"] >= 17 and counts["outdated"] == counts["damaged"] == 0
    for record in (tree / reduced.RESULTS).rglob("*.provenance.json"):
        facts = json.loads(record.read_text())
        assert {"commit", "code", "options", "options_digest", "packages", "machine", "wall_seconds"} <= facts.keys()
    model = json.loads((tree / reduced.RUNS / "sm/eta=0.2/seed=1/model.provenance.json").read_text())
    assert model["options"]["seed"] == "1" and {"lm.safetensors", "metrics.csv"} <= model["sha256"].keys()


@pytest.mark.slow
def test_other_settings_make_results_outdated_not_damaged(tree):
    done, counts = verify(tree, [*reduced.SETTINGS, "objective={alpha: 0.5}"])
    assert done.returncode == 0
    assert counts["damaged"] == 0 and counts["outdated"] == 1 + 3 + 1 + 4  # model, samples, scores, the table's files


@pytest.mark.slow
def test_every_kind_of_damage_is_named(tree):
    results = tree / reduced.RESULTS
    with (results / "mul/sm/eta=0.2/seed=1/samples.jsonl").open("a") as file:
        file.write(" ")
    weights = results / "mul/base/seed=1/model/lm.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (results / "mul/tokenizer/tokenizer.json").unlink()
    (results / "tables/table6.csv.provenance.json").write_text("{}")
    done, counts = verify(tree)
    assert done.returncode == 1 and counts["damaged"] == 4
    for words in (
        "samples.jsonl' is not what was written: samples.jsonl",
        "base/seed=1/model' is not what was written: lm.safetensors",
        "tokenizer' is not what was written: tokenizer.json",
        "table6.csv.provenance.json' states no sha256, commit, uncommitted_changes",
    ):
        assert words in done.stdout
    assert done.stderr == "error: delete what is damaged and run make again\n"


def test_every_script_leaves_a_record():
    scripts = sorted((reduced.ROOT / "src").glob("*.py"))
    assert len(scripts) >= 15
    for script in scripts:
        recorded = re.search(r"script\.run\(main\)\n|run_stage\(args", script.read_text())
        assert recorded, f"{script} leaves no record"
