"""The page of a table of accuracy or BLEU. It is for reading; the CSV is for computing."""

from collections.abc import Iterator, Sequence

from sequencematch.results.cells import Cell, Table
from sequencematch.results.comparison import Comparison
from sequencematch.results.document import Block, Bullets, Grid, Heading, Paragraph
from sequencematch.results.older_errors import older_error_blocks
from sequencematch.results.quantities import describe
from sequencematch.results.score_cells import STATISTICS, baselines
from sequencematch.results.words import (
    INTERVAL,
    capital,
    caption,
    decoding_label,
    pair_sentences,
    paper_label,
    plain,
    printed,
    repair_grid,
    repair_sentence,
    signed_bold,
    span,
    variants_grid,
    with_spread,
)
from sequencematch.settings.families import FAMILIES

IN_SHORT = "In short"


def scores_page(table: Table, comparison: Comparison) -> list[Block]:
    """What the intervals support, the scores with the paper's, then differences and backspaces, and how it was made."""
    metric, *others = FAMILIES[comparison.family].scores
    label = describe(metric).label
    return [
        Heading(IN_SHORT),
        Bullets(pair_sentences(table.differences()) or ["Nothing to compare: one method only."]),
        Heading(capital(label)),
        _scores(table),
        Paragraph(f"Mean ± standard deviation between seeds, and {INTERVAL}. {_about_the_paper(table.cells)}"),
        *(block for name in others for block in _other(table, name)),
        Heading(f"Paired differences of {label}"),
        _differences(table, comparison),
        Paragraph(
            f"Same seeds, same questions: mean and {INTERVAL}; in bold, the significant ones, whose interval excludes "
            "0. Each interval holds by itself; nothing corrects for how many there are."
        ),
        *_repair(table, comparison),
        *older_error_blocks(table),
        Heading("Deletions in decoding"),
        _backspace(table),
        Paragraph("How often `<bkspc>` was used, and the share of sequences cut off before their end."),
        Heading("How it was made"),
        Paragraph(" ".join([caption(comparison), *_how_scored(comparison)])),
    ]


def _repair(table: Table, comparison: Comparison) -> list[Block]:
    """The section about repair; none where it was not measured."""
    if not comparison.corruptions:
        return []
    return [Heading("Repair"), repair_grid(table, comparison), Paragraph(repair_sentence(comparison).strip())]


def _how_scored(comparison: Comparison) -> Iterator[str]:
    score = FAMILIES[comparison.family].score
    if score == "accuracy":
        yield "Accuracy is exact match of the final text. A sequence that was cut off counts as wrong."
    if score == "bleu":
        signature = comparison.first["decodings"][comparison.decodings[0]]["signature"]
        yield (
            "Scores are of the final text. A sequence that was cut off counts with the text it has. By sacrebleu: "
            f"BLEU `{signature['bleu']}`, chrF `{signature['chrf']}`."
        )


def _scores(table: Table) -> Grid:
    """The score in every decoding, with the paper's number in a last column where it has any."""
    decodings = table.decodings_of(table.metric)
    columns = [(decoding, table.metric) for decoding in decodings]
    grid = variants_grid(table, columns, (with_spread, span))
    header = ["method", *(name for decoding in decodings for name in (decoding_label(decoding), INTERVAL))]
    papers = [_paper(table, variant) for variant in table.variants]
    if not any(papers):
        return Grid(header, grid.rows)
    rows = [[*row, printed(paper)] for row, paper in zip(grid.rows, papers, strict=True)]
    return Grid([*header, paper_label(table.cells)], rows)


def _paper(table: Table, variant):
    return next((cell.paper for cell in table.cells if cell.variant == variant and cell.paper), None)


def _other(table: Table, name: str) -> list[Block]:
    columns = [(decoding, name) for decoding in table.decodings_of(name)]
    return [Heading(describe(name).label), variants_grid(table, columns, (with_spread,))]


def _differences(table: Table, comparison: Comparison) -> Grid:
    """A row per pair of methods, two columns per decoding; a rule's gain has a row with its decodings filled."""
    decodings = [d for d in comparison.decodings if any(cell.decoding == d for cell in table.differences())]
    rows = []
    for variant in comparison.variants:
        for other in baselines(comparison, variant):
            found = [table.find(variant, decoding, f"{table.metric}_minus_{other.method}") for decoding in decodings]
            rows.append([f"{variant.name} vs. {other.label}", *(w(c) for c in found for w in (signed_bold, span))])
        gains = {c.decoding: c for c in table.differences() if c.variant == variant and "[" in c.quantity}
        if gains:
            found = [gains.get(decoding) for decoding in decodings]
            rows.append(
                [f"{variant.name} vs. itself without the rule", *(w(c) for c in found for w in (signed_bold, span))]
            )
    return Grid(["pair", *(name for d in decodings for name in (decoding_label(d), INTERVAL))], rows)


def _backspace(table: Table) -> Grid:
    columns = [
        (decoding, name)
        for name in STATISTICS
        for decoding in table.decodings_of(name)
        if decoding in ("sampled", "greedy")
    ]
    return variants_grid(table, columns, (plain,))


def _about_the_paper(cells: Sequence[Cell]) -> str:
    """What differs between the paper's numbers and ours."""
    if not any(cell.paper for cell in cells):
        return "The paper prints no number for these rows."
    notes: dict[str, list[str]] = {}
    for cell in cells:
        if cell.paper and cell.paper.note:
            notes.setdefault(cell.paper.note, []).append(cell.variant.name)
    said = "; ".join(f"{note} ({'; '.join(dict.fromkeys(names))})" for note, names in notes.items())
    return (
        "The paper samples from a fine-tuned Llama-2-7b and its data are harder, so its numbers are not comparable "
        "with ours." + (f" Of its numbers: {said}." if said else "")
    )
