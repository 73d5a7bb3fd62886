"""The page of table 8: what was typed after damaged prompts, the repair rates, and the texts' measures."""

from collections.abc import Mapping, Sequence

from sequencematch.results.cells import REFERENCE, Cell, Table
from sequencematch.results.comparison import Comparison
from sequencematch.results.document import Block, Bullets, Grid, Heading, Paragraph
from sequencematch.results.older_errors import older_error_blocks
from sequencematch.results.quantities import describe
from sequencematch.results.scores_page import IN_SHORT
from sequencematch.results.showcase import Showcase, Shown, answered
from sequencematch.results.texts import measures
from sequencematch.results.variants import Variant
from sequencematch.results.words import (
    INTERVAL,
    capital,
    caption,
    decoding_label,
    heading,
    pair_sentences,
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
    "Mean ± standard deviation between seeds. A perplexity below that of real text is not better: the judge finds such "
    "text easy, as it does repetition. MAUVE (1 at best) compares the distribution of texts with that of the real "
    "continuations. Entropy is of the n-grams of all texts, in nats. Repetition is the share of 4-grams that occurred "
    "earlier in the same text; distinct is the share of different ones among all 3-grams."
)
MAUVE_LIMITS = (
    "MAUVE is one number for all texts of a seed and has none per question. Its differences are paired by seed, and "
    "their intervals are Student's over seeds: wide with few of them. Intervals of held-out losses are over seeds and "
    "questions. Each interval holds by itself; nothing corrects for how many there are."
)
COMPARED = ("mauve", "held_out_nll")


def text_page(table: Table, comparison: Comparison, shown: Mapping[Variant, Sequence[Shown]]) -> list[Block]:
    """``shown``: the examples of each variant with <bkspc>, of the first seed."""
    return [
        Heading(IN_SHORT),
        Bullets(_in_short(table) or ["Nothing to compare: one method only."]),
        Heading("Repair, and the models on real text" if comparison.corruptions else "The models on real text"),
        repair_grid(table, comparison, before=("held_out_nll", "held_out_nll_given_no_deletion")),
        Paragraph(
            f"Mean and {INTERVAL}. {repair_sentence(comparison)}Held-out NLL: a model's own loss per token on real "
            "continuations, with `<bkspc>` in its softmax, as it is sampled. Given no deletion: without `<bkspc>`, "
            "which flatters a policy that uses it."
        ),
        *older_error_blocks(table),
        Heading("The texts of each decoding"),
        _truncation(table, comparison),
        Paragraph(TRUNCATION),
        *showcase_blocks(shown),
        Heading("How it was made"),
        Paragraph(f"{caption(comparison)} {_judged_by(comparison)} {MAUVE_LIMITS}"),
    ]


def _in_short(table: Table) -> list[str]:
    """The comparisons of each measure; of MAUVE between policies with the same decoding, and with truncation."""
    return [
        f"{capital(describe(quantity).label)}{' (lower is better)' * describe(quantity).lower}, {sentence}"
        for quantity in COMPARED
        for sentence in pair_sentences(table.differences(quantity))
    ]


def showcase_blocks(shown: Mapping[Variant, Sequence[Shown]]) -> list[Block]:
    """Every variant's answers to the same damaged prompts."""
    blocks: list[Block] = [Heading("A wrong token at the end of the prompt"), Paragraph(f"{AT_ONCE} {LEGEND}")]
    for variant, examples in shown.items():
        blocks += [
            Heading(f"{variant.name}: {answered(examples)}", level=3),
            Showcase(examples),
        ]
    return blocks if shown else [*blocks, Paragraph("None: no method of this table has `<bkspc>`.")]


def to_text(title: str, shown: Mapping[Variant, Sequence[Shown]]) -> str:
    """The examples alone, as plain text."""
    parts = [title, AT_ONCE]
    for variant, examples in shown.items():
        how_many = answered(examples).replace("`", "")
        parts += [f"== {variant.name}: {how_many}", Showcase(examples).text()]
    return "\n\n".join(parts) + "\n"


def _judged_by(comparison: Comparison) -> str:
    """Which model judged each seed, and the description of the first one."""
    judges = [metrics["judge"]["model"] for metrics in comparison.runs[comparison.variants[0]]]
    models = ", ".join(f"`{judge}` (seed {seed})" for seed, judge in zip(comparison.seeds, judges, strict=True))
    return f"Judged by {models}. Of seed {comparison.seeds[0]}: {comparison.first['judge']['description']}"


def _truncation(table: Table, comparison: Comparison) -> Grid:
    names = measures(comparison)
    names = [names[0], "mauve", *names[1:]]  # perplexity and MAUVE are read together
    of_decoding = ("pops_per_sequence", "cut_off_share")
    rows = [
        ["real text", "", *(with_spread(table.find(REFERENCE, "", name)) for name in names), "-", "-"],
        *(
            [
                variant.name,
                decoding_label(decoding),
                *(_measured(table.find(variant, decoding, name), name) for name in names),
                *(plain(table.find(variant, decoding, name)) for name in of_decoding),
            ]
            for variant in comparison.variants
            for decoding in comparison.decodings
            if comparison.has(variant, decoding)
        ),
    ]
    return Grid(["method", "decoding", *map(heading, (*names, *of_decoding))], rows)


def _measured(cell: Cell | None, name: str) -> str:
    """A measure of texts, or why there is none."""
    return "too few texts" if name == "mauve" and cell is None else with_spread(cell)
