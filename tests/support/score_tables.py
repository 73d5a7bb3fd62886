"""Small tables of scores, and one with differences of every kind."""

from dataclasses import replace

from sequencematch.results.estimates import Estimate, Table, Variant
from sequencematch.settings.map import Side

MLE, BC, SM, LOW = Variant("mle", 0.0), Variant("bc", 0.2), Variant("sm", 0.2), Variant("sm", 0.02)
ORDER = (MLE, LOW, BC, SM)


def estimate(variant, decoding, quantity, mean, sd=None, low=None, high=None, against=None) -> Estimate:
    """``against``: method and decoding of a difference."""
    where = Side("mul", variant.method, variant.eta, decoding)
    other = Side("mul", against[0], 0.0 if against[0] == "mle" else variant.eta, against[1]) if against else None
    return Estimate(mean, sd, low, high, where, quantity, other)


def a_table(task, differences, metric="accuracy", scale="default", rule=None) -> Table:
    """``differences``: low and high end of (variant, decoding, other method)."""
    decodings = ("sampled", "greedy", "perturbed=0.1")
    cells = [estimate(v, d, metric, 0.5, 0.0, 0.4, 0.6) for v in ORDER for d in decodings]
    for (variant, decoding, other), (low, high) in differences.items():
        cells.append(estimate(variant, decoding, metric, (low + high) / 2, 0.0, low, high, (other, decoding)))
    if rule is not None:
        gain = (rule, 0.0, rule - 0.01, rule + 0.01)
        cells.append(estimate(MLE, "takeback_ratio=0.3", metric, *gain, ("mle", "sampled")))
    cells = [replace(cell, where=replace(cell.where, task=task)) for cell in cells]
    return Table("table", sorted(cells, key=lambda cell: ORDER.index(cell.variant)), scale, task, 3, 400)


MUL = a_table(
    "mul",
    {
        (SM, "sampled", "mle"): (-0.2, -0.1),
        (LOW, "sampled", "mle"): (-0.2, -0.1),
        (BC, "greedy", "mle"): (0.1, 0.2),
        (SM, "perturbed=0.1", "bc"): (-0.1, 0.1),
    },
    rule=0.1,
)
