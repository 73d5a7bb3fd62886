"""The page of table 8: what was typed after damaged prompts, the repair rates, and the texts' measures."""

from collections.abc import Mapping, Sequence

from sequencematch.scores.comparison import Comparison, Variant
from sequencematch.tables.document import Block, Bullets, Grid, Heading, Paragraph
from sequencematch.tables.scores import Cell
from sequencematch.tables.showcase import Showcase, Shown, answered
from sequencematch.tables.texts import REFERENCE, measures
from sequencematch.tables.wording import (
    caption,
    decoding_label,
    difference_sentences,
    eta_label,
    find_cell,
    heading,
    plain,
    repair_grid,
    repair_sentence,
    with_spread,
)

AT_ONCE = (
    "The last token of a prompt was replaced by a random one; the policy of the first seed went on from there, "
    "sampled at temperature 1. These are the first prompts of the split, not picked."
)
LEGEND = "Struck through: deleted with `<bkspc>`. Underlined: the word written after it. Dotted: the wrong token, kept."
TRUNCATION = (
    "Mean ± standard deviation between seeds. Lower perplexity than that of real text is not better: it is text that "
    "the judge finds easy, such as repetition. MAUVE (1 at best) compares the distribution of texts with that of the "
    "real continuations. Entropy is of the n-grams of all texts, in nats; repetition the share of 4-grams that stood "
    "earlier in the same text; distinct the share of different ones among all 3-grams. Pops per sequence is the rate "
    "of deletion. Held-out losses are above, for they do not depend on the decoding."
)
MAUVE_LIMITS = (
    "MAUVE is one number for all texts of a seed and has none per question; its differences are paired by seed, and "
    "their intervals are Student's over seeds, wide with few of them. Intervals of held-out losses are over seeds and "
    "questions. Each interval holds by itself; nothing corrects for how many there are."
)


def text_page(cells: Sequence[Cell], comparison: Comparison, shown: Mapping[Variant, Sequence[Shown]]) -> list[Block]:
    """``shown``: the examples of each variant with <bkspc>, of the first seed."""
    return [
        Paragraph(f"{caption(comparison)} {_judged_by(comparison)}"),
        *showcase_blocks(shown),
        Heading("Repair, and the models on real text"),
        Paragraph(f"{repair_sentence(comparison)} Held-out NLL: a model's own loss per token on real continuations."),
        repair_grid(cells, comparison, before=("held_out_nll",)),
        Heading("Backspace as truncation"),
        Paragraph(TRUNCATION),
        _truncation(cells, comparison),
        Heading("What the intervals support"),
        Paragraph(MAUVE_LIMITS),
        *_supported(cells),
    ]


def showcase_blocks(shown: Mapping[Variant, Sequence[Shown]]) -> list[Block]:
    """Every variant's answers to the same damaged prompts."""
    blocks: list[Block] = [Heading("A wrong token at the end of the prompt"), Paragraph(f"{AT_ONCE} {LEGEND}")]
    for variant, examples in shown.items():
        blocks += [
            Heading(f"{variant.label}, eta {eta_label(variant)}: {answered(examples)}", level=3),
            Showcase(examples),
        ]
    return blocks if shown else [*blocks, Paragraph("None: no method of this table has `<bkspc>`.")]


def to_text(title: str, shown: Mapping[Variant, Sequence[Shown]]) -> str:
    """The examples alone, as plain text."""
    parts = [title, AT_ONCE]
    for variant, examples in shown.items():
        how_many = answered(examples).replace("`", "")
        parts += [f"== {variant.label}, eta {eta_label(variant)}: {how_many}", Showcase(examples).text()]
    return "\n\n".join(parts) + "\n"


def _judged_by(comparison: Comparison) -> str:
    """Which model judged each seed, and what the first of them says of itself."""
    judges = [metrics["judge"]["model"] for metrics in comparison.runs[comparison.variants[0]]]
    models = ", ".join(f"`{judge}` (seed {seed})" for seed, judge in zip(comparison.seeds, judges, strict=True))
    return f"Judged by {models}. Of seed {comparison.seeds[0]}: {comparison.first['judge']['description']}"


def _truncation(cells: Sequence[Cell], comparison: Comparison) -> Grid:
    names = measures(comparison)
    # MAUVE stands beside perplexity: the two are read together.
    names = [names[0], "mauve", *names[1:]]
    of_decoding = ("pops_per_sequence", "cut_off_share")
    rows = [
        ["real text", "", "", *(with_spread(find_cell(cells, REFERENCE, "", name)) for name in names), "-", "-"],
        *(
            [
                variant.label,
                eta_label(variant),
                decoding_label(decoding),
                *(_measured(find_cell(cells, variant, decoding, name), name) for name in names),
                *(plain(find_cell(cells, variant, decoding, name)) for name in of_decoding),
            ]
            for variant in comparison.variants
            for decoding in comparison.decodings
            if comparison.has(variant, decoding)
        ),
    ]
    header = ["method", "eta", "decoding", *map(heading, (*names, *of_decoding))]
    return Grid("The texts of each decoding", header, rows)


def _measured(cell: Cell | None, name: str) -> str:
    """A measure of texts, or why there is none."""
    return "too few texts" if name == "mauve" and cell is None else with_spread(cell)


def _supported(cells: Sequence[Cell]) -> list[Block]:
    blocks: list[Block] = []
    for quantity, label in (("mauve", "MAUVE"), ("held_out_nll", "Held-out NLL (lower is better)")):
        found = list(difference_sentences(c for c in cells if c.quantity.startswith(f"{quantity}_minus_")))
        if found:
            blocks += [Heading(label, level=3), Bullets(found)]
    return blocks or [Paragraph("Nothing to compare: one method only.")]
