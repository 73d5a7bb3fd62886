"""Small tables of scores, and one with differences of every kind."""

from sequencematch.results.cells import Cell, Table
from sequencematch.results.variants import Variant

MLE, BC, SM, LOW = Variant("mle", 0.0), Variant("bc", 0.2), Variant("sm", 0.2), Variant("sm", 0.02)
ORDER = (MLE, LOW, BC, SM)


def a_table(task, differences, metric="accuracy", scale="default", rule=None) -> Table:
    """``differences``: low and high end of (variant, decoding, other method)."""
    decodings = ("sampled", "greedy", "perturbed=0.1")
    cells = [Cell(v, d, metric, 0.5, 0.0, 0.4, 0.6) for v in ORDER for d in decodings]
    for (variant, decoding, other), (low, high) in differences.items():
        cells.append(Cell(variant, decoding, f"{metric}_minus_{other}", (low + high) / 2, 0.0, low, high))
    if rule is not None:
        gain = f"{metric}_minus_mle[sampled]"
        cells.append(Cell(MLE, "takeback_ratio=0.3", gain, rule, 0.0, rule - 0.01, rule + 0.01))
    return Table("table", scale, task, 3, 400, sorted(cells, key=lambda cell: ORDER.index(cell.variant)))


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
