"""Errors older than one token: the section of a table's page, and the figure of the report."""

from sequencematch.results.cells import Table
from sequencematch.results.document import Block, Grid, Heading, Paragraph
from sequencematch.results.dots import Panel
from sequencematch.results.quantities import describe, key
from sequencematch.results.scores_figure import dot_of, look_of
from sequencematch.results.words import INTERVAL, capital, decoding_label, plain, span, without_marks

EXPLAINED = (
    "A wrong first token is pushed, then d greedy tokens without deletions, and only then may the policy delete: the "
    "share of those errors that are ever deleted, and of answers that are right in the end. Questions whose greedy "
    "answer ends within d tokens are left out. A rule that reads the last token alone cannot see an older error."
)


def older_error_blocks(table: Table) -> list[Block]:
    """The section of a page. Empty if older errors were not measured."""
    blocks: list[Block] = []
    for name in ("taken_back", "right_after_error", "tokens_after_error"):
        if _columns(table, name):
            blocks += [Paragraph(f"{capital(describe(name).label)}, by tokens in between:"), _grid(table, name)]
    return [Heading("Errors older than one token"), Paragraph(EXPLAINED), *blocks] if blocks else []


def _grid(table: Table, name: str) -> Grid:
    """A row per method and decoding, with the mean and its interval for each number of tokens in between."""
    columns = _columns(table, name)
    depths = sorted({int(key(quantity)) for _, quantity in columns})
    writers = (plain,) if name == "tokens_after_error" else (plain, span)
    rows = []
    for variant in table.variants:
        for decoding in dict.fromkeys(decoding for decoding, _ in columns):
            found = [table.find(variant, decoding, f"{name}[{depth}]") for depth in depths]
            if any(found):
                rows.append([variant.name, decoding_label(decoding), *(w(cell) for cell in found for w in writers)])
    header = [text for depth in depths for text in (str(depth), INTERVAL)[: len(writers)]]
    return Grid(["method", "decoding", *header], rows)


def _columns(table: Table, name: str) -> list[tuple[str, str]]:
    """The decodings and quantities that were measured, by decoding and depth."""
    found = dict.fromkeys((c.decoding, c.quantity) for c in table.cells if c.quantity.startswith(f"{name}["))
    return sorted(found, key=lambda column: (column[0], int(key(column[1]))))


def older_error_panels(table: Table) -> list[Panel]:
    """The share of errors ever deleted, a row per number of tokens in between and a panel per decoding."""
    looks, axis = look_of(table), capital(describe("taken_back").label)
    return [
        Panel(
            without_marks(decoding_label(decoding)),
            axis,
            [
                dot_of(cell, _row(key(cell.quantity)), cell.variant.name, *looks[cell.variant])
                for _, quantity in columns
                for variant in table.variants
                if (cell := table.find(variant, decoding, quantity))
            ],
        )
        for decoding in dict.fromkeys(decoding for decoding, _ in _columns(table, "taken_back"))
        for columns in [[c for c in _columns(table, "taken_back") if c[0] == decoding]]
    ]


def _row(depth: str) -> str:
    return "at once" if depth == "0" else f"{depth} token{'s' * (depth != '1')} later"
