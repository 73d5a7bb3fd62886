"""The map: what a cell says and what it leaves alone, which runs and decodings follow, and what is found in them."""

import csv
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support.configuration import BASE, SCALES, refusal
from support.experiment import run
from support.workflow import ROOT, copy_tree, launch, snakemake

from sequencematch.config.load import load_config, scale_overlay
from sequencematch.errors import UserError
from sequencematch.results.estimates import Table, estimates_csv
from sequencematch.results.measure import comparisons, measure_map
from sequencematch.results.pages import glance, map_page
from sequencematch.settings.map import Map, Side, column_of, readings_of

MAP = {
    "title": "A map",
    "task": "mul",
    "eta": 0.2,
    "methods": {"mle": "mle", "bc": "bc", "sm": "sm"},
    "readings": ["sampled", "perturbed=0.1"],
    "axes": {
        "task": {"title": "task", "cells": [{"at": "mul"}, {"at": "sums", "task": "add_or_sub_in_base"}]},
        "alpha": {"title": "alpha", "cells": [{"at": "0.03"}, {"at": "js", "method": {"sm": "sm_js"}, "eta": 0.02}]},
        "bias": {
            "title": "bias",
            "readings": ["greedy"],
            "cells": [{"at": "-2", "decoding": "bkspc_bias=-2"}, {"at": "p", "decoding": {"mle": "takeback=0.1"}}],
        },
    },
}


def a_map(**changes):
    return Map.model_validate(MAP | changes)


# ---- cells ------------------------------------------------------------------------------------------


def test_a_cell_differs_from_the_default_one_in_what_it_says_alone():
    readings = readings_of(a_map(), ["mle", "uls"])
    sides = {(r.axis, r.at, r.name): r.sides for r in readings}
    mle, bc, sm = (Side("mul", "mle", 0, "sampled"), *(Side("mul", m, 0.2, "sampled") for m in ("bc", "sm")))
    assert sides["task", "mul", "sampled"] == {"mle": mle, "bc": bc, "sm": sm} == sides["alpha", "0.03", "sampled"]
    assert sides["task", "sums", "perturbed=0.1"]["sm"] == Side("add_or_sub_in_base", "sm", 0.2, "perturbed=0.1")
    assert sides["alpha", "js", "sampled"] == {
        "mle": mle,
        "bc": Side("mul", "bc", 0.02, "sampled"),
        "sm": Side("mul", "sm_js", 0.02, "sampled"),
    }
    # A dial on <bkspc> is none for a model without it; a rule for one role leaves the others alone.
    assert sides["bias", "-2", "greedy"]["mle"] == Side("mul", "mle", 0, "greedy")
    assert sides["bias", "-2", "greedy"]["bc"].decoding == "greedy+bkspc_bias=-2"
    assert sides["bias", "p", "greedy"]["mle"].decoding == "greedy+takeback=0.1"
    assert sides["bias", "p", "greedy"]["sm"].decoding == "greedy"
    assert len(readings) == 2 * 2 + 2 * 2 + 2
    assert list(readings[0].comparisons) == ["bc_minus_mle", "sm_minus_mle", "sm_minus_bc"]
    of_js = next(r for r in readings if r.at == "js").comparisons
    assert of_js["sm_minus_default"] == (Side("mul", "sm_js", 0.02, "sampled"), sm) and "mle_minus_default" not in of_js
    of_sums = next(r for r in readings if r.at == "sums").comparisons
    assert not [name for name in of_sums if name.endswith("default")]


@pytest.mark.parametrize(
    ("decoding", "column"),
    [
        ("sampled", "sampled"),
        ("top_p=0.9", "sampled"),
        ("greedy+bkspc_bias=1", "greedy"),
        ("perturbed_model=0.1", "perturbed"),
        ("greedy+perturbed=0.1", "perturbed"),
    ],
)
def test_columns(decoding, column):
    assert column_of(decoding) == column


def test_runs_are_decoded_as_the_map_reads_them_and_others_are_not():
    config = load_config(BASE, ("overlay", {"map": MAP, "evaluation": {"decodings": ["sampled", "top_p=0.5"]}}))
    own = ("sampled", "top_p=0.5")
    assert config.evaluation_of("mul", "mle", 0).decodings == (*own, "perturbed=0.1", "greedy", "greedy+takeback=0.1")
    assert config.evaluation_of("mul", "sm", 0.2).decodings == (*own, "perturbed=0.1", "greedy+bkspc_bias=-2", "greedy")
    assert config.evaluation_of("mul", "sm", 0.02).decodings == own
    assert config.evaluation_of("mul", "sm_js", 0.02).decodings == (*own, "perturbed=0.1")
    assert load_config(BASE).map_readings == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "mull"}, "overlay.yaml: map.task: 'mull' is unknown; did you mean 'mul'?"),
        ({"task": None}, "overlay.yaml: map.task is missing: it must be text"),
        ({"methods": {"sm": "smm"}}, "overlay.yaml: map.methods.sm: 'smm' is unknown; did you mean 'sm'?"),
        ({"readings": ["greed"]}, "map.axes.task: 'greed' is no decoding; known are: sampled, greedy"),
        ({"readings": ["perturbed=0.1", "greedy+temperature=1"]}, "does not go with what is named before it"),
        (
            {"axes": {"task": {"cells": [{"at": "a", "task": "mule"}]}}},
            "overlay.yaml: map.axes.task, cell 'a'.task: 'mule' is unknown; did you mean 'mul'?",
        ),
        (
            {"axes": {"task": {"cells": [{"at": "a", "method": {"sn": "sm"}}]}}},
            "map.axes.task, cell 'a'.method: 'sn' is unknown; known are: mle, bc, sm",
        ),
        (
            {"axes": {"task": {"cells": [{"at": "a", "method": {"sm": "sm_jz"}}]}}},
            "map.axes.task, cell 'a'.method: 'sm_jz' is unknown; did you mean 'sm_js'?",
        ),
        (
            {"axes": {"task": {"cells": [{"at": "a", "decoding": {"rule": "sampled"}}]}}},
            "map.axes.task, cell 'a'.decoding: 'rule' is unknown; known are: mle, bc, sm",
        ),
        ({"axes": {"task": {"cells": [{"at": "a"}, {"at": "a"}]}}}, "a, a: each may occur once"),
        ({"axes": {"task": {"cells": [{"task": "mul"}]}}}, "map.axes.task.cells.0.at is missing"),
        (
            {"axes": {"bias": {"cells": [{"at": "a", "decoding": "temperature=0.5"}]}}},
            "overlay.yaml: map.axes.bias: 'greedy+temperature=0.5' is no decoding: 'temperature=0.5' does not go with",
        ),
        (
            {"axes": {"task": {"readings": ["perturbed_task=0.1"], "cells": [{"at": "a", "task": "translation"}]}}},
            "map.axes.task, cell 'a': 'perturbed_task=0.1' means nothing in translation: choose",
        ),
        (
            {"summary": {"a row": "task/nowhere"}},
            "summary: 'task/nowhere' is no place of the map: write an axis and one of its cells",
        ),
        (
            {"axes": {"summary": {"title": "t", "cells": [{"at": "a"}]}}},
            "map.axes.summary: this name is taken by another figure of the map; rename it",
        ),
    ],
)
def test_a_wrong_map_is_one_sentence(changes, sentence):
    described = MAP | {key: value for key, value in changes.items() if key != "axes"}
    if "axes" in changes:
        described["axes"] = MAP["axes"] | {
            name: MAP["axes"].get(name, {}) | axis for name, axis in changes["axes"].items()
        }
    if "methods" in changes:
        described["methods"] = MAP["methods"] | changes["methods"]
    assert sentence in refusal({"map": described})


def test_the_name_of_the_map_is_no_task():
    assert "tasks.map: this name is taken by a folder" in refusal(
        {"tasks": {"map": {"data": {"family": "arithmetic"}}}}
    )


def test_a_scale_may_extend_another(tmp_path):
    for name, extends in (("low", None), ("middle", "low"), ("high", "middle"), ("a", "b"), ("b", "a"), ("c", "lo")):
        lines = [f"scale: {name}", *([f"extends: {extends}"] if extends else [])]
        (tmp_path / f"{name}.yaml").write_text("\n".join(lines) + "\n")
    assert [file.stem for file in scale_overlay(tmp_path, "high")] == ["low", "middle", "high"]
    with pytest.raises(UserError, match="extends this scale in turn"):
        scale_overlay(tmp_path, "a")
    with pytest.raises(UserError, match="scale 'lo' is unknown; did you mean 'low'"):
        scale_overlay(tmp_path, "c")


# ---- effects ----------------------------------------------------------------------------------------


def write_metrics(root, side, seeds, answers, digest="x", decoding=None, pushes=5.0):
    """metrics.json of each seed of a side's runs; decodings of the same run are added to it."""
    for seed, correct in zip(seeds, answers, strict=True):
        file = root / side.run / f"seed={seed}" / "metrics.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        metrics = json.loads(file.read_text()) if file.exists() else {"family": "arithmetic", "decodings": {}}
        metrics["budget"] = {"questions_digest": digest}
        metrics["decodings"][decoding or side.decoding] = {
            "n": len(correct),
            "correct": "".join(map(str, map(int, correct))),
            "pushes_per_sequence": pushes,
            "pops_per_sequence": 0.5,
            "cut_off_share": 0.0,
        }
        file.write_text(json.dumps(metrics))


@pytest.fixture
def measured(tmp_path):
    """A map in which SM is truly 15 points above the others when perturbed, and nothing else differs."""
    rng = np.random.default_rng(0)
    described, seeds = a_map(), (1, 2, 3)
    readings = readings_of(described, ["mle"])
    ease = rng.uniform(-0.2, 0.2, 2000)
    for side in dict.fromkeys(side for reading in readings for side in reading.sides.values()):
        gain = 0.15 if side.method.startswith("sm") and "perturbed" in side.decoding else 0
        skill = rng.uniform(-0.01, 0.01, (3, 1))
        write_metrics(tmp_path, side, seeds, rng.random((3, 2000)) < 0.6 + gain + ease + skill)
    return described, readings, measure_map(readings, tmp_path, seeds), tmp_path


def test_what_was_planted_is_found_and_nothing_else_is(measured):
    _, _, found, _ = measured
    compared = comparisons(found)
    planted = [e for e in compared if e.cell.roles in ("sm_minus_mle", "sm_minus_bc") and e.cell.column == "perturbed"]
    assert len(planted) == 2 * 3 and len(compared) > 20
    assert all(e.significant and e.mean == pytest.approx(15, abs=6) for e in planted)
    assert not [e for e in compared if e.significant and e not in planted]


def test_each_comparison_counts_once(measured):
    _, readings, found, _ = measured
    pairs = [pair for reading in readings for pair in reading.comparisons.values()]
    assert len(comparisons(found)) == len(set(pairs)) < len(pairs) == sum(e.p is not None for e in found)
    same = [e for e in found if e.cell.roles == "sm_minus_mle" and e.cell.reading == "sampled" and e.cell.at != "sums"]
    default = [e for e in same if e.where.method == "sm"]
    assert len(default) == 2 and len({(e.p, e.p_adjusted) for e in default}) == 1


def test_the_csv_and_the_page_say_the_same(measured):
    described, _, found, _ = measured
    rows = list(csv.DictReader(estimates_csv(Table("map", found, seeds=3)).splitlines()))
    assert len(rows) == len(found)
    row = next(r for r in rows if (r["axis"], r["roles"], r["reading"]) == ("task", "sm_minus_mle", "perturbed=0.1"))
    assert [row[name] for name in ("method", "eta", "against_method", "against_eta")] == ["sm", "0.2", "mle", "0.0"]
    text = map_page(described, found, (1, 2, 3)).markdown()
    mean, low, high = (f"{float(row[name]):.1f}" for name in ("mean", "low", "high"))
    assert f"| **+{mean}** | {low} to {high} |" in text and float(row["p_corrected"]) < 0.05
    assert "- SM vs. MLE, perturbed at 0.1: significantly better in every cell (+1" in text
    assert "- BC vs. MLE, sampled: not significant in every cell" in text
    counted = Counter()
    for _, column, *counts in glance(found).rows:
        counted[column] += sum(map(int, counts))
    said = f"{sum(counted.values())} paired comparisons were made. 6 of them are significant"
    assert sum(counted.values()) == len(comparisons(found)) and said in text
    lines = [line for line in text.partition("## All differences")[2].partition("## ")[0].splitlines() if "|" in line]
    cells = dict.fromkeys((e.cell.axis, e.cell.at) for e in found)
    assert len(lines) == 2 + len(cells) and f"**+{mean}**" in "".join(lines)


def test_sides_of_different_questions_are_not_compared(measured):
    _, readings, _, root = measured
    side = Side("mul", "bc", 0.2, "sampled")
    write_metrics(root, side, (1, 2, 3), np.ones((3, 2000)), digest="y")
    with pytest.raises(UserError, match="in the cell 'mul' of the map's axis 'task', bc and mle answered different"):
        measure_map(readings, root, (1, 2, 3))
    write_metrics(root, side, (1,), np.ones((1, 2000)))
    with pytest.raises(UserError, match="the seeds of .* answered different questions"):
        measure_map(readings, root, (1, 2, 3))
    other = replace(readings[0], sides={"bc": Side("mul", "bc", 0.2, "majority=3")})
    with pytest.raises(UserError, match="was not decoded by 'majority=3'"):
        measure_map([other], root, (1,))


def test_the_script_writes_csv_page_and_a_figure_per_axis(measured):
    described, _, found, root = measured
    words = {"results": root, "map": described.model_dump_json(), "noiseless": ["mle", "uls"], "seeds": [1, 2, 3]}
    run("make_map", **words, output=root / "map")
    made = {file.name for file in (root / "map").iterdir()}
    assert made == {"map.csv", "map.md", "map.html", "summary.png", "cost.png", "task.png", "alpha.png", "bias.png"}
    assert (root / "map/map.csv").read_text() == estimates_csv(Table("map", found, seeds=3))
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in (root / "map").glob("*.png"))
    done = run("make_map", **words | {"map": '{"title": "x"}'}, output=root / "other", check=False)
    assert (
        done.returncode == 1
        and done.stderr.startswith("error: --map describes no map (")
        and not (root / "other").exists()
    )


# ---- workflow ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["map", "map_tune", "map_gpu"])
def test_every_map_has_a_plan(scale, tmp_path):
    done = snakemake(copy_tree(tmp_path), "--dry-run", "map", "--config", f"scale={scale}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"results/{scale}/map" in done.stdout and f"results/{scale}/mul/sm/eta=0.2" in done.stdout


@pytest.mark.slow
def test_the_smoke_map_says_what_the_samples_say(smoke_copy):
    done = launch(smoke_copy, "map")
    assert done.returncode == 0, done.stdout + done.stderr
    results = smoke_copy / "results/smoke"
    with (results / "map/map.csv").open() as file:
        rows = {(r["at"], r["reading"], r["roles"]): r for r in csv.DictReader(file)}
    means = {}
    for at, quantity, method in (("js", "sm", "sm_js"), ("js", "mle", "mle"), ("chi2 mixture", "sm", "sm")):
        eta = "0" if method == "mle" else "0.2"
        right, pushes = [], []
        for seed in (1, 2):
            lines = (results / f"mul/{method}/eta={eta}/seed={seed}/samples.jsonl").read_text().splitlines()
            for sample in (s for s in map(json.loads, lines) if s["decoding"] == "greedy"):
                right.append(sample["finished"] and sample["text"] == sample["solution"])
                pushes.append(sample["pushes"])
        row = rows[at, "greedy", quantity]
        means[method] = 100 * sum(right) / len(right)
        assert float(row["mean"]) == pytest.approx(means[method])
        assert float(row["pushes_per_sequence"]) == pytest.approx(sum(pushes) / len(pushes))
    difference = float(rows["js", "greedy", "sm_minus_mle"]["mean"])
    assert difference == pytest.approx(means["sm_js"] - means["mle"])
    assert (results / "map/divergence.png").is_file()
    again = launch(smoke_copy, "map")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_scale_without_a_map_has_no_cells():
    assert load_config(BASE, *scale_overlay(SCALES, "gpu")).map is None


def test_make_map_names_its_own_scale_unless_told_otherwise():
    for words, scale in ((["make", "-n", "map"], "map"), (["make", "-n", "map", "SCALE=map_gpu"], "map_gpu")):
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert f"scale={scale} " in done.stdout.replace("\n", " "), done.stdout + done.stderr


def test_nothing_of_the_map_needs_torch_before_figures():
    code = (
        "import sequencematch.results.figures, sequencematch.config.experiment, sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
