"""The forest plot: what is drawn of which table, and what its caption says is missing."""

import json
from dataclasses import replace

import pytest
from support.score_tables import MUL, SM, a_table, estimate

from sequencematch.results.estimates import Table, scores_csv
from sequencematch.results.forest import (
    POOLED,
    RULED,
    forest_note,
    forest_panels,
    kept_results,
    plot_forest,
    results_of,
)
from sequencematch.results.variants import Variant


def dots(panels):
    return {(p.title, d.row, d.series): (d.mean, d.low, d.high) for p in panels for d in p.dots}


def test_dots_are_points_at_the_highest_noise_level():
    bleu = a_table("translation", {(SM, "greedy", "mle"): (-3.0, 1.0)}, "bleu", "multi30k")
    found = dots(forest_panels(results_of([MUL, bleu], "default"), []))
    assert found["sampled", "mul", "SM"] == pytest.approx((-15, -20, -10))
    assert found["sampled", "mul", RULED] == pytest.approx((10, 9, 11))
    assert found["greedy", "translation (multi30k)", "SM"] == pytest.approx((-1, -3, 1))
    assert len(found) == 4  # the lower noise level of SM is not drawn


def test_only_tables_of_scores_with_mle_and_bc_count():
    half = Table("t", "default", "sums", 1, 1, [estimate(SM, "sampled", "accuracy", 0.5)])
    assert list(results_of([half, MUL], "default")) == ["mul"]


def test_dagger_is_drawn_where_a_table_has_it():
    dagger = Variant("dagger", 0.2)
    more = [
        estimate(dagger, "sampled", "accuracy", 0.6, 0.0, 0.5, 0.7),
        estimate(dagger, "sampled", "accuracy", 0.1, 0.0, 0.05, 0.15, ("mle", "sampled")),
    ]
    results = results_of([replace(MUL, cells=[*MUL.cells, *more]), replace(MUL, task="sums")], "default")
    found = dots(forest_panels(results, []))
    assert found["sampled", "mul", "DAgger"] == pytest.approx((10, 5, 15))
    assert not any(row == "sums" and series == "DAgger" for _, row, series in found)
    colours = {dot.series: dot.colour for panel in forest_panels(results, []) for dot in panel.dots}
    assert len(set(colours.values())) == len(colours) >= 4


def test_the_pooled_difference_is_a_row_of_its_own():
    line = replace(estimate(SM, "perturbed", "points", 12.0, 0.0, 10.0, 14.0, ("mle", "perturbed")), n=2)
    tables = [a_table(task, {(SM, "perturbed=0.1", "mle"): (0.1, 0.2)}) for task in ("mul", "sums")]
    found = dots(forest_panels(results_of(tables, "default"), [line]))
    assert found["perturbed at 0.1", POOLED, "SM"] == (12, 10, 14)
    fewer = dots(forest_panels(results_of(tables, "default"), [replace(line, n=1)]))
    assert ("perturbed at 0.1", POOLED, "SM") not in fewer, "not of all tasks"


def test_the_caption_has_the_sizes():
    assert forest_note(results_of([MUL], "default")).endswith("at η = 0.2; 3 seeds, 400 questions.")


def test_the_kept_folder_is_read_without_what_is_unfair(tmp_path):
    for folder, scale in (("graphs", "graphs"), ("default", "default"), ("pretrained", "pretrained")):
        (tmp_path / folder).mkdir()
        task = "graphs_arm" if scale == "graphs" else "mul"
        (tmp_path / folder / "t.csv").write_text(scores_csv(a_table(task, {}, scale=scale, rule=0.1)))
    results = kept_results(tmp_path, "default")
    assert list(results) == ["mul", "graphs arm"]
    plot_forest(results, [], tmp_path / "forest.png")
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")


def test_trials_on_validation_questions_are_no_results(tmp_path):
    table = a_table("mul", {(SM, "sampled", "mle"): (0.01, 0.02)})
    for name, split in (("default", "test"), ("tune", "validation")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "provenance.json").write_text(json.dumps({"config": {"evaluation": {"split": split}}}))
        (tmp_path / name / "table6.csv").write_text(scores_csv(replace(table, scale=name)))
    assert list(kept_results(tmp_path, "default")) == ["mul"]
    (tmp_path / "tune/provenance.json").write_text(json.dumps({"config": {"evaluation": {"split": "test"}}}))
    assert list(kept_results(tmp_path, "default")) == ["mul", "mul (tune)"]
