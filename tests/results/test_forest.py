"""The forest plot: what is drawn of which table, and what its caption says is missing."""

import json
from dataclasses import replace

import pytest
from support.score_tables import MUL, SM, a_table, estimate

from sequencematch.results.estimates import COSTS, Effect, Estimate, Place, Table, map_csv, scores_csv
from sequencematch.results.forest import (
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
    found = dots(forest_panels(results_of([MUL, bleu], "default")))
    assert found["sampled", "mul", "SM"] == pytest.approx((-15, -20, -10))
    assert found["sampled", "mul", RULED] == pytest.approx((10, 9, 11))
    assert found["greedy", "translation (multi30k)", "SM"] == pytest.approx((-1, -3, 1))
    assert len(found) == 4  # the lower noise level of SM is not drawn


def test_only_tables_with_all_three_methods_count():
    half = Table("t", "default", "sums", 1, 1, [estimate(SM, "sampled", "accuracy", 0.5)])
    assert list(results_of([half, MUL], "default").tables) == ["mul"]


def test_dagger_is_drawn_where_a_table_has_it():
    dagger = Variant("dagger", 0.2)
    more = [
        estimate(dagger, "sampled", "accuracy", 0.6, 0.0, 0.5, 0.7),
        estimate(dagger, "sampled", "accuracy", 0.1, 0.0, 0.05, 0.15, ("mle", "sampled")),
    ]
    results = results_of([replace(MUL, cells=[*MUL.cells, *more]), replace(MUL, task="sums")], "default")
    found = dots(forest_panels(results))
    assert found["sampled", "mul", "DAgger"] == pytest.approx((10, 5, 15))
    assert not any(row == "sums" and series == "DAgger" for _, row, series in found)
    colours = {dot.series: dot.colour for panel in forest_panels(results) for dot in panel.dots}
    assert len(set(colours.values())) == len(colours) >= 4


def test_the_caption_says_what_is_missing():
    other = a_table("sums", {(SM, "sampled", "mle"): (0.0, 0.1)})
    results = results_of([MUL, other], "default")
    note = forest_note(results, forest_panels(results))
    assert note.endswith(f"Not measured: {RULED} on sums; a pretrained model.") and "3 seeds, 400 questions" in note
    whole = results_of([MUL], "default", pretrained={"mul": MUL})
    panels = forest_panels(whole)
    assert "Not measured" not in forest_note(whole, panels)
    assert [dot.row for dot in panels[0].dots if dot.series == "SM"] == ["mul", "mul (pretrained)"]


def test_the_kept_folder_is_read_with_its_map_and_its_pretrained_model(tmp_path):
    """The rule's gain comes from the map where no table has it: at the threshold that the map uses most."""
    plain = a_table("mul", {(SM, "sampled", "mle"): (0.1, 0.2)})
    for folder, table in (("default", plain), ("pretrained", a_table("mul", {(SM, "sampled", "mle"): (0.3, 0.4)}))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "table6.csv").write_text(scores_csv(table))
    (tmp_path / "map").mkdir()
    effects = []
    for axis, ratio, mean in (("ratio", 0.1, 1), ("ratio", 0.3, 7), ("rule", 0.3, 7)):
        sides = [Place("mul", "mle", 0, decoding) for decoding in (f"takeback_ratio={ratio}", "sampled")]
        found = Estimate(mean, 0.1, mean - 1, mean + 1, sides[0], "points", sides[1], p=0.5, p_adjusted=0.5)
        effects.append(Effect(axis, "a", "sampled", "sampled", "mle_minus_default", found, dict.fromkeys(COSTS, 0.0)))
    (tmp_path / "map/map.csv").write_text(map_csv(effects, 3))
    results = kept_results(tmp_path, "default")
    found = dots(forest_panels(results))
    assert found["sampled", "mul", RULED] == (7, 6, 8)
    assert found["sampled", "mul (pretrained)", "SM"] == pytest.approx((35, 30, 40))
    assert f"{RULED}: from the map for mul." in forest_note(results, forest_panels(results))
    plot_forest(results, tmp_path / "forest.png")
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")


def test_trials_on_validation_questions_are_no_results(tmp_path):
    table = a_table("mul", {(SM, "sampled", "mle"): (0.01, 0.02)})
    for name, split in (("default", "test"), ("tune", "validation")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "provenance.json").write_text(json.dumps({"config": {"evaluation": {"split": split}}}))
        (tmp_path / name / "table6.csv").write_text(scores_csv(replace(table, scale=name)))
    assert list(kept_results(tmp_path, "default").tables) == ["mul"]
    (tmp_path / "tune/provenance.json").write_text(json.dumps({"config": {"evaluation": {"split": "test"}}}))
    assert list(kept_results(tmp_path, "default").tables) == ["mul", "mul (tune)"]
