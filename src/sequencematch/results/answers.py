"""Does SequenceMatch help? What the kept tables support, in a few sentences and in one table of differences to MLE."""

from collections.abc import Sequence

from sequencematch.results.cells import Cell
from sequencematch.results.document import Grid
from sequencematch.results.forest import COLUMNS, Results, decoding_of, drawn
from sequencematch.results.variants import Variant
from sequencematch.results.words import by_decoding, sides
from sequencematch.settings.decodings import without_rule

PAIRS = (("sm", "mle"), ("bc", "mle"), ("sm", "bc"))


def answers(results: Results) -> list[str]:
    """What the 95% intervals support, a sentence or two for each pair of methods, over all tasks and noise levels.

    Without a takeback rule: with one, every method deletes.
    """
    found = []
    for method, other in PAIRS:
        pairs = [
            (cell, row)
            for row, table in results.tables.items()
            for cell in table.differences()
            if cell.variant.method == method and cell.quantity == f"{table.metric}_minus_{other}"
            if without_rule(cell.decoding) == cell.decoding
        ]
        if pairs:
            found.append(_answer(Variant(method, 0).label, Variant(other, 0).label, pairs))
    return found


def _answer(first: str, second: str, pairs: Sequence[tuple[Cell, str]]) -> str:
    """The answer in words, such as: SM is never significantly better than MLE."""
    rows = {id(cell): row for cell, row in pairs}
    better, worse = sides(cell for cell, _ in pairs)

    def where(cells: Sequence[Cell]) -> str:
        return by_decoding(cells, lambda cell: rows[id(cell)])

    if not better and not worse:
        return (
            f"**{first} and {second} do not differ significantly** ({len(pairs)} comparison{'s' * (len(pairs) > 1)})."
        )
    start = f"**{first} is significantly better than {second}** {where(better)}."
    if not better:
        start = f"**{first} is never significantly better than {second}.**"
    return f"{start} It is {f'significantly worse {where(worse)}' if worse else 'never significantly worse'}."


def differences(results: Results) -> Grid:
    """Task by decoding: the differences to MLE in points, at each method's highest noise level.

    In bold where the 95% interval excludes 0; a pretrained model's tables last.
    """
    rows = []
    for row, table in results.rows.items():
        decodings = [decoding_of(table, column) for column in COLUMNS]
        for variant in drawn(table):
            found = [table.find(variant, name, f"{table.metric}_minus_mle") if name else None for name in decodings]
            rows.append([row, variant.name, *(_points(cell, table.metric) for cell in found)])
    return Grid(["task", "method", *COLUMNS], rows)


def _points(cell: Cell | None, metric: str) -> str:
    """'+4.5', bold where it is significant; accuracies in points of a percent."""
    if cell is None:
        return "-"
    said = f"{round(cell.mean * (100 if metric == 'accuracy' else 1), 1) + 0.0:+.1f}"
    return f"**{said}**" if cell.significant else said
