"""The lines over all tasks: what is pooled, and what is left out."""

from dataclasses import replace

import pytest
from support.score_tables import BC, LOW, SM, a_table

from sequencematch.results.estimates import read_table, scores_csv
from sequencematch.results.forest import over_tasks, pooled_sentences


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
        (tmp_path / f"{table.task}.csv").write_text(scores_csv(table))
    one, two = over_tasks(read_table(file) for file in sorted(tmp_path.glob("*.csv")))
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
