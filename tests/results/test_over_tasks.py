"""What the README says of all tasks: the sentences, the table of differences, what is pooled, and the forest plot."""

import json
from dataclasses import replace

import pytest
from support.score_tables import BC, LOW, MUL, SM, a_table, estimate

from sequencematch.results.estimates import Table, Variant, estimates_csv, read_table
from sequencematch.results.figures import POOLED, RULED, SM_BC, forest_note, forest_panels, plot_forest
from sequencematch.results.measure import over_tasks, results_of
from sequencematch.results.readme import answers, dead_ends, differences, erase_or_keep, kept_results
from sequencematch.results.words import pooled_sentences

KEPT = Variant("keep", 0.2)


def test_the_sentences_follow_the_intervals():
    """MUL has no rule when greedy, so that nothing is said of one."""
    gain, equal = answers(results_of([MUL], "default"))
    better = "**A learned deletion gains** with greedy decoding on mul (BC +15.0)."
    assert gain == f"{better} **It loses** with sampling on mul (SM -15.0)."
    assert equal == "**SequenceMatch vs. behavioural cloning:** significantly different in none of 1 comparisons."


def test_a_learned_deletion_beats_the_rule_where_its_whole_interval_is_above():
    found = {(SM, "sampled", "mle"): (0.2, 0.4), (BC, "sampled", "mle"): (0.0, 0.2)}
    beaten, equal = a_table("dead_ends", found, rule=0.1), a_table("sums", found, rule=0.2)
    first, second = answers(results_of([beaten, equal], "default"))
    gains = "**A learned deletion gains more than the takeback rule**"
    assert first == f"{gains} with sampling on dead ends (SM +30.0, takeback rule +10.0)."
    assert second.startswith("**It gains no more than the takeback rule")
    assert second.endswith("with sampling on sums (SM +30.0, takeback rule +20.0).")


def test_comparisons_under_a_rule_are_left_out():
    """With a rule every method deletes, so they would say nothing of ``<bkspc>`` as it was learned."""
    ruled = a_table("mul", {(SM, "greedy+takeback_ratio=0.3", "mle"): (0.1, 0.2)})
    assert answers(results_of([ruled], "default")) == []


def test_differences_are_points_in_bold_where_they_are_significant():
    bleu = a_table("translation", {(SM, "greedy", "mle"): (-3.0, 1.0), (BC, "sampled", "mle"): (-0.02, -0.01)}, "bleu")
    grid = differences(results_of([MUL, bleu], "default"), ("bc", "sm"))
    assert grid.rows == [
        ["mul", "sampled", "50.0", "-", "**-15.0**", "**+10.0**"],
        ["mul", "greedy", "50.0", "**+15.0**", "-", "-"],
        ["mul", "perturbed at 0.1", "50.0", "-", "-", "-"],
        ["translation", "sampled", "0.5", "**0.0**", "-", "-"],
        ["translation", "greedy", "0.5", "-", "-1.0", "-"],
        ["translation", "perturbed at 0.1", "0.5", "-", "-", "-"],
    ]


def test_the_costs_of_an_answer_stand_beside_its_accuracy():
    table = a_table("graphs", {})
    costs = {"pushes_per_sequence": 7.25, "pops_per_sequence": 3.0}
    cells = [*table.cells, *(estimate(BC, "sampled", name, mean) for name, mean in costs.items())]
    tables = [replace(table, cells=cells).in_points, table.in_points]
    first, _, third, _ = dead_ends(tables).rows[:4]
    assert first[:3] == ["graphs", "MLE", "50.0"] and third[2] == "50.0 (7.2 + 3.0)" and third[4] == "-"
    assert [row[1] for row in dead_ends(tables).rows].count("MLE") == 1


def test_what_keeping_adds_stands_beside_what_erasing_scores():
    loss = estimate(KEPT, "greedy", "accuracy", -0.15, 0.0, -0.2, -0.1, ("bc", "greedy"))
    cut_off = estimate(BC, "greedy", "cut_off_share", 0.25)
    sums = a_table("mul", {})
    _, greedy, _ = erase_or_keep([replace(sums, cells=[*sums.cells, loss, cut_off]).in_points]).rows
    assert greedy == ["mul", "greedy", "50.0", "**-15.0**", "-", "0.250", "-", "-"]


# ---- pooled over tasks ------------------------------------------------------------------------------


def task(name: str, sm: float, metric: str = "accuracy", **changes):
    """SM - BC is ``sm`` points when sampled, its standard error one point; at the lower noise level it is far off."""
    unit = 0.01 if metric == "accuracy" else 1
    low, high = sm * unit - 0.1, sm * unit + 0.1
    pairs = {(SM, "sampled", "bc"): (low, high), (LOW, "sampled", "bc"): (-1, -0.9), (BC, "greedy", "mle"): (-1, 1)}
    table = a_table(name, pairs, metric)
    cells = [replace(c, error=unit, sd=unit * 3**0.5 if c.against else c.sd) for c in table.cells]
    return replace(table, cells=cells, **changes)


def test_tasks_are_pooled_in_points_at_the_highest_noise_level(tmp_path):
    tables = [task("mul", -2.0), task("translation", -1.0, "bleu"), task("sums", -3.0)]
    for table in tables:  # as they are read from their files
        (tmp_path / f"{table.task}.csv").write_text(estimates_csv(table))
    one, two = over_tasks(read_table(file).in_points for file in sorted(tmp_path.glob("*.csv")))
    assert (one.where.method, one.against.method, one.decoding, one.n) == ("sm", "bc", "sampled", 3)
    # Three standard errors of 1 with 2 degrees of freedom each: 6 degrees of freedom, Student's 2.447.
    assert (one.mean, one.low, one.high) == pytest.approx((-2, -2 - 2.447 / 3**0.5, -2 + 2.447 / 3**0.5), abs=1e-3)
    assert one.significant and one.p_adjusted == pytest.approx(2 * one.p)  # corrected for BC vs. MLE, greedy
    assert (two.where.method, two.against.method, two.decoding) == ("bc", "mle", "greedy")
    first, _ = pooled_sentences([one, two])
    assert first == "SM vs. BC over 3 tasks, points: sampled **-2.0** (95% interval -3.4 to -0.6, p = 0.027)."


def test_what_cannot_be_pooled_is_left_out():
    alone, earlier = task("one", -9.0, seeds=1), task("old", -9.0)
    earlier = replace(earlier, cells=[replace(cell, error=None) for cell in earlier.cells])
    assert over_tasks([task("mul", -1.0), alone, earlier]) == []
    assert {line.n for line in over_tasks([task("mul", -1.0), task("sums", -1.0), alone, earlier])} == {2}


# ---- the forest plot --------------------------------------------------------------------------------


def dots(panels):
    return {(p.title, d.row, d.series): (d.cell.mean, d.cell.low, d.cell.high) for p in panels for d in p.dots}


def test_dots_are_points_at_the_highest_noise_level():
    bleu = a_table("translation", {(SM, "greedy", "mle"): (-3.0, 1.0)}, "bleu", "multi30k")
    found = dots(forest_panels(results_of([MUL, bleu], "default"), []))
    assert found["sampled", "mul", "SM"] == pytest.approx((-15, -20, -10))
    assert found["sampled", "mul", RULED] == pytest.approx((10, 9, 11))
    assert found["greedy", "translation (multi30k)", "SM"] == pytest.approx((-1, -3, 1))
    assert len(found) == 4  # the lower noise level of SM is not drawn


def test_only_tables_of_scores_with_mle_and_bc_count():
    half = Table("t", [estimate(SM, "sampled", "accuracy", 0.5)], "default", "sums", 1, 1)
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


def test_the_last_row_is_sm_vs_bc_over_all_tasks():
    line = replace(estimate(SM, "perturbed", "points", -0.7, 0.0, -1.2, -0.1, ("bc", "perturbed")), n=2)
    results = results_of([a_table(task, {(SM, "perturbed=0.1", "mle"): (0.1, 0.2)}) for task in ("mul", "sums")], "x")
    *_, last = [dot for panel in forest_panels(results, [line]) for dot in panel.dots]
    assert (last.row, last.cell) == (SM_BC, line)
    assert forest_note(results, [line]).endswith("400 questions. Last row: SM vs. BC over 2 tasks.")


def test_the_caption_has_the_sizes():
    note = forest_note(results_of([MUL], "default"), [])
    assert note.endswith("at η = 0.2; 3 seeds, 400 questions.")


def test_the_kept_folder_is_read_the_main_scale_first(tmp_path):
    for scale in ("graphs", "default", "pretrained"):
        (tmp_path / scale).mkdir()
        task = "graphs_arm" if scale == "graphs" else "mul"
        (tmp_path / scale / "t.csv").write_text(estimates_csv(a_table(task, {}, scale=scale, rule=0.1)))
    results = kept_results(tmp_path, "default")
    assert list(results) == ["mul", "graphs arm", "mul (pretrained)"]
    plot_forest(results, [], tmp_path / "forest.png")
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")


def test_trials_on_validation_questions_are_no_results(tmp_path):
    table = a_table("mul", {(SM, "sampled", "mle"): (0.01, 0.02)})
    for name, split in (("default", "test"), ("tune", "validation")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "provenance.json").write_text(json.dumps({"config": {"evaluation": {"split": split}}}))
        (tmp_path / name / "table6.csv").write_text(estimates_csv(replace(table, scale=name)))
    assert list(kept_results(tmp_path, "default")) == ["mul"]
    (tmp_path / "tune/provenance.json").write_text(json.dumps({"config": {"evaluation": {"split": "test"}}}))
    assert list(kept_results(tmp_path, "default")) == ["mul", "mul (tune)"]
