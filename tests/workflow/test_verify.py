"""`make verify` tells sound results from damaged ones, and present from outdated ones."""

import json
import re
import subprocess

import pytest
from support import reduced
from support.workflow import launch


def verify(tree, settings=reduced.SETTINGS, status=0):
    done = launch(tree, script="verify", config=settings, status=status)
    names = ("present", "outdated", "damaged", "missing")
    numbers = re.search(
        r"Of \d+ results, (\d+) are from .*, (\d+) from other .*, (\d+) damaged, (\d+) not made", done.stdout
    )
    assert numbers, done.stdout + done.stderr
    return done, dict(zip(names, map(int, numbers.groups()), strict=True))


@pytest.mark.slow
def test_results_are_present_or_outdated_and_every_kind_of_damage_is_named(uninterrupted, tmp_path):
    subprocess.run(["cp", "-a", uninterrupted / "results", uninterrupted / ".snakemake", tmp_path], check=True)
    tree, results = reduced.make_tree(tmp_path), tmp_path / reduced.RESULTS
    _, counts = verify(tree)
    assert counts["present"] >= 17 and counts["outdated"] == counts["damaged"] == 0
    for record in results.rglob("*.provenance.json"):
        facts = json.loads(record.read_text())
        assert {"commit", "code", "options", "options_digest", "packages", "machine", "wall_seconds"} <= facts.keys()
    model = json.loads((tree / reduced.RUNS / "sm/eta=0.2/seed=1/model.provenance.json").read_text())
    assert model["options"]["seed"] == "1" and {"lm.safetensors", "metrics.csv"} <= model["sha256"].keys()
    _, counts = verify(tree, [*reduced.SETTINGS, "objective={alpha: 0.5}"])
    assert counts["damaged"] == 0 and counts["outdated"] == 1 + 3 + 1 + 4  # model, samples, scores, the table's files

    with (results / "mul/sm/eta=0.2/seed=1/samples.jsonl").open("a") as file:
        file.write(" ")
    weights = results / "mul/base/seed=1/model/lm.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (results / "mul/tokenizer/tokenizer.json").unlink()
    (results / "tables/table6.csv.provenance.json").write_text("{}")
    done, counts = verify(tree, status=1)
    assert counts["damaged"] == 4
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
