"""The page of a table of accuracy or BLEU: for reading, where the CSV is for computing."""

from collections.abc import Iterator, Sequence

from sequencematch.scores.comparison import Comparison
from sequencematch.scores.quantities import describe
from sequencematch.tables.document import Block, Bullets, Grid, Heading, Paragraph
from sequencematch.tables.scores import SCORES, STATISTICS, Cell, baselines
from sequencematch.tables.wording import (
    caption,
    decoding_label,
    difference_sentences,
    eta_label,
    find_cell,
    paper_label,
    plain,
    printed,
    repair_grid,
    repair_sentence,
    signed,
    variants_grid,
    with_all,
    with_spread,
)


def page(cells: Sequence[Cell], comparison: Comparison) -> list[Block]:
    """Caption, tables of the score, of differences and of backspaces, and what the intervals support, in words."""
    metric, *beside = SCORES[comparison.family]
    label = describe(metric).label
    supported = [
        sentence
        for decoding in comparison.decodings
        for sentence in difference_sentences(
            cell for cell in cells if cell.decoding == decoding and cell.quantity.startswith(f"{metric}_minus_")
        )
    ]
    return [
        Paragraph(" ".join([caption(comparison), *_how_scored(comparison)])),
        Heading(label[0].upper() + label[1:]),
        Paragraph("Mean ± standard deviation between seeds (95% interval)."),
        _scores(cells, comparison, metric),
        *_notes(cells),
        *(block for name in beside for block in _beside(cells, comparison, name)),
        Heading(f"Paired differences of {label}"),
        Paragraph("Same seeds, same questions: mean (95% interval)."),
        _differences(cells, comparison, metric),
        Heading("Backspace"),
        Paragraph(repair_sentence(comparison)),
        repair_grid(cells, comparison),
        Heading("In decoding", level=3),
        Paragraph("What `<bkspc>` did, and sequences cut off before their end."),
        _backspace(cells, comparison),
        Heading("What the intervals support"),
        Paragraph("Each interval holds by itself; nothing corrects for how many there are."),
        Bullets(supported or ["Nothing to compare: one method only."]),
    ]


def _how_scored(comparison: Comparison) -> Iterator[str]:
    if comparison.family == "arithmetic":
        yield "Accuracy is exact match of the final text; a sequence that was cut off counts as wrong."
    if comparison.family == "translation":
        signature = comparison.first["decodings"][comparison.decodings[0]]["signature"]
        yield (
            "Scores are of the final text, of a sequence that was cut off too: it counts with the text it has. By "
            f"sacrebleu: BLEU `{signature['bleu']}`, chrF `{signature['chrf']}`."
        )


def _scores(cells: Sequence[Cell], comparison: Comparison, metric: str) -> Grid:
    rows = []
    for variant in comparison.variants:
        found = [find_cell(cells, variant, decoding, metric) for decoding in comparison.decodings]
        paper = next((cell.paper for cell in found if cell and cell.paper), None)
        rows.append([variant.label, eta_label(variant), *map(with_all, found), printed(paper)])
    header = ["method", "eta", *map(decoding_label, comparison.decodings), paper_label(cells)]
    return Grid(f"{describe(metric).label} by decoding", header, rows)


def _beside(cells: Sequence[Cell], comparison: Comparison, name: str) -> list[Block]:
    label, columns = describe(name).label, [(decoding, name) for decoding in comparison.decodings]
    grid = variants_grid(f"{label} by decoding", cells, comparison, columns, with_spread)
    return [Heading(label, level=3), Paragraph("Mean ± standard deviation between seeds."), grid]


def _differences(cells: Sequence[Cell], comparison: Comparison, metric: str) -> Grid:
    rows = []
    for variant in comparison.variants:
        for other in baselines(comparison, variant):
            quantity = f"{metric}_minus_{other.method}"
            found = [find_cell(cells, variant, decoding, quantity) for decoding in comparison.decodings]
            rows.append([f"{variant.label} - {other.label}", eta_label(variant), *map(signed, found)])
    header = ["difference", "eta", *map(decoding_label, comparison.decodings)]
    return Grid(f"Paired differences of {describe(metric).label}", header, rows)


def _backspace(cells: Sequence[Cell], comparison: Comparison) -> Grid:
    decodings = [name for name in ("sampled", "greedy") if name in comparison.decodings]
    columns = [(decoding, name) for name in STATISTICS for decoding in decodings]
    return variants_grid("Backspaces in decoding", cells, comparison, columns, plain)


def _notes(cells: Sequence[Cell]) -> list[Block]:
    """What must be said beside the paper's numbers."""
    notes: dict[str, list[str]] = {}
    for cell in cells:
        if cell.paper and cell.paper.note:
            where = f" at eta {cell.variant.eta:g}" if cell.variant.eta else ""
            notes.setdefault(cell.paper.note, []).append(f"{cell.variant.label}{where}")
    said = "; ".join(f"{', '.join(labels)}: {note}" for note, labels in notes.items())
    return [Paragraph(f"The paper's numbers: {said}.")] if said else []
