"""The sentences and the table of differences that answer whether SequenceMatch helps: what the intervals support."""

from support.score_tables import BC, MUL, SM, a_table

from sequencematch.results.forest import results_of
from sequencematch.results.readme import answers, differences


def test_the_sentences_follow_the_intervals():
    worse, better, equal = answers(results_of([MUL], "default"))
    assert worse == ("**SM is never significantly better than MLE.** It is significantly worse with sampling on mul.")
    assert better == (
        "**BC is significantly better than MLE** with greedy decoding on mul. It is never significantly worse."
    )
    assert equal == "**SM and BC do not differ significantly** (1 comparison)."


def test_comparisons_under_a_rule_are_left_out():
    """With a rule every method deletes, so they would say nothing of ``<bkspc>`` as it was learned."""
    ruled = a_table("mul", {(SM, "greedy+takeback_ratio=0.3", "mle"): (0.1, 0.2)})
    assert answers(results_of([ruled], "default")) == []


def test_differences_are_points_in_bold_where_they_are_significant():
    bleu = a_table("translation", {(SM, "greedy", "mle"): (-3.0, 1.0), (BC, "sampled", "mle"): (-0.02, -0.01)}, "bleu")
    grid = differences(results_of([MUL, bleu], "default", pretrained={"mul": MUL}))
    assert grid.rows == [
        ["mul", "BC, η = 0.2", "-", "**+15.0**", "-"],
        ["mul", "SM, η = 0.2", "**-15.0**", "-", "-"],
        ["translation", "BC, η = 0.2", "**0.0**", "-", "-"],
        ["translation", "SM, η = 0.2", "-", "-1.0", "-"],
        ["mul (pretrained)", "BC, η = 0.2", "-", "**+15.0**", "-"],
        ["mul (pretrained)", "SM, η = 0.2", "**-15.0**", "-", "-"],
    ]
