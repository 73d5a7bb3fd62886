"""The sentences and the table of differences that answer whether SequenceMatch helps: what the intervals support."""

from dataclasses import replace

from support.score_tables import BC, MUL, SM, a_table, estimate

from sequencematch.results.forest import results_of
from sequencematch.results.readme import answers, dead_ends, differences


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
    first, _, third, _ = dead_ends([replace(table, cells=cells), table]).rows[:4]
    assert first[:3] == ["graphs", "MLE", "50.0"] and third[2] == "50.0 (7.2 + 3.0)" and third[4] == "-"
    assert [row[1] for row in dead_ends([table, table]).rows].count("MLE") == 1
