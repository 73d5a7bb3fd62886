"""How everything is written: labels, numbers, captions, sentences and grids. Nothing else formats a number."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sequencematch.results.estimates import Estimate, Table
from sequencematch.results.measure import BACKSPACE
from sequencematch.results.paper import Reported
from sequencematch.results.quantities import describe, key
from sequencematch.results.runs import BUDGET_NAMES, Comparison
from sequencematch.settings.decoding_names import without_rule

DECODINGS = {
    "perturbed": "perturbed at {}",
    "perturbed_task": "perturbed by digits at {}",
    "perturbed_random": "perturbed by any token at {}",
    "perturbed_model": "perturbed by likely errors at {}",
    "temperature": "temperature {}",
    "top_p": "top-p {}",
    "min_p": "min-p {}",
    "rejection": "rejection {}",
    "bkspc_bias": "`<bkspc>` bias {}",
    "bkspc_masked": "`<bkspc>` masked",
    "memory": "what was deleted is not written again",
    "surprise": "surprise {}",
    "takeback": "deleting below {}",
    "takeback_ratio": "deleting below {} of the likeliest",
    "takeback_any_ratio": "deleting back to the first below {} of the likeliest",
    "lookahead": "looking one token ahead ({})",
    "best_of": "best of {}",
    "majority": "majority of {}",
}
PHRASES = {"": "on held-out text", "sampled": "with sampling", "greedy": "with greedy decoding"}
REPAIR = (
    "Repair rate: mean probability of `<bkspc>` right after an injected wrong token. False-alarm rate: right after a "
    "correct one."
)
CORRUPTIONS = {
    "task": "*task*: digits of the question's base (the default training noise)",
    "random": "*random*: any token",
    "unigram": "*unigram*: tokens as frequent as in the data",
    "model": "*model*: likely wrong tokens of the base model",
}
INTERVAL = "95% interval"
SIGNIFICANT = (
    "Significant: below 5% after the correction of Benjamini and Hochberg for all comparisons of methods on the page. "
    "Comparisons of a method with itself (with a rule and without) are corrected as a family of their own. Intervals "
    "are unadjusted; each holds by itself."
)


# ---- labels -----------------------------------------------------------------------------------------


def decoding_label(name: str) -> str:
    """'perturbed at 0.05' for 'perturbed=0.05'; 'greedy, `<bkspc>` bias -2' for a joined name."""
    parts = (part.partition("=") for part in name.split("+"))
    return ", ".join(DECODINGS.get(kind, kind).format(value) for kind, _, value in parts)


def decoding_phrase(name: str) -> str:
    """'with greedy decoding', 'when perturbed at 0.1', 'with top-p 0.95': a decoding within a sentence."""
    label = decoding_label(name)
    return PHRASES.get(name) or f"{'when' if label.startswith('perturbed') else 'with'} {label}"


def without_marks(text: str) -> str:
    """A label without the marks of Markdown, for figures."""
    return text.replace("`", "").replace("*", "")


def paper_label(cells: Iterable[Estimate]) -> str:
    """'paper (table 6)', or 'paper' where it reports nothing."""
    sources = dict.fromkeys(cell.paper.source for cell in cells if cell.paper)
    return f"paper ({', '.join(sources)})" if sources else "paper"


def heading(quantity: str) -> str:
    """'repair rate, random' for 'repair_rate[random]'."""
    return ", ".join(filter(None, (describe(quantity).label, key(quantity))))


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


# ---- sentences --------------------------------------------------------------------------------------


def caption(comparison: Comparison) -> str:
    """What was compared: runs, budget, code."""
    seeds, budget = comparison.seeds, comparison.first["budget"]
    several = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    sentences = [
        f"Task `{comparison.first['task']}`, scale `{comparison.first['scale']}`; "
        f"{several} ({', '.join(map(str, seeds))}); {questions_of(comparison)}.",
        "The same budget for every method: "
        + ", ".join(f"{BUDGET_NAMES.get(name, name)} {_short(value)}" for name, value in budget.items())
        + ".",
        f"Code: commit {', '.join(comparison.commits)}.",
        "Intervals are 95% bootstrap intervals over seeds and questions, corrected for few seeds."
        if len(seeds) > 1
        else "With one seed the intervals come from the questions alone and say nothing of the spread between seeds.",
    ]
    if any(name.startswith("perturbed") for name in comparison.decodings):
        sentences.append(
            "*Perturbed* decoding samples at temperature 1 and replaces emitted tokens by wrong ones at the "
            "stated rate. This resembles the training noise of BC and SequenceMatch, which MLE never saw."
        )
    return " ".join(sentences)


def questions_of(comparison: Comparison) -> str:
    """'400 test questions', or of the split that was sampled."""
    return f"{comparison.questions} {comparison.split} questions".replace("  ", " ")


def sample_size(table: Table) -> str:
    """'3 seeds, 400 questions': the n of a figure's caption."""
    return f"{table.seeds} seed{'s' * (table.seeds != 1)}, {table.questions} questions"


def repair_sentence(comparison: Comparison) -> str:
    """What the repair grid shows, and where its wrong tokens come from; '' where repair was not measured."""
    kinds = "; ".join(CORRUPTIONS.get(kind, f"*{kind}*") for kind in comparison.corruptions)
    return f"{REPAIR} Kinds of wrong tokens: {kinds}." if kinds else ""


def pair_sentences(differences: Iterable[Estimate]) -> list[str]:
    """A line for each pair of methods: where they differ significantly, with the largest difference in each decoding.

    'SM vs. MLE: significantly better when perturbed at 0.1 (+0.129), worse with greedy decoding (-0.061); 5 of 8 are
    not significant.' The intervals are in the grid.
    """
    pairs: dict[str, list[Estimate]] = {}
    for cell in differences:
        pairs.setdefault(pair(cell), []).append(cell)
    return [f"{name}: {_findings(cells)}" for name, cells in pairs.items()]


def _findings(cells: Sequence[Estimate]) -> str:
    if all(cell.low is None for cell in cells):
        return f"no interval from one seed (largest difference {signed(_largest(cells))})."
    said = [f"{word} {_at(some)}" for word, some in zip(("better", "worse"), sides(cells), strict=True) if some]
    if not said:
        return f"no significant difference (largest of {len(cells)}: {signed(_largest(cells))})."
    rest = sum(not cell.significant for cell in cells)
    return f"significantly {', '.join(said)}" + f"; {rest} of {len(cells)} are not significant" * bool(rest) + "."


def _largest(cells: Sequence[Estimate]) -> Estimate:
    return max(cells, key=lambda cell: abs(cell.mean))


def sides(cells: Iterable[Estimate]) -> tuple[list[Estimate], list[Estimate]]:
    """The significant differences that are for the first method, and those that are against it."""
    found = [cell for cell in cells if cell.significant]
    return [c for c in found if _is_better(c)], [c for c in found if not _is_better(c)]


def _is_better(cell: Estimate) -> bool:
    return (cell.mean < 0) == describe(cell.quantity).lower


def by_decoding(cells: Iterable[Estimate]) -> dict[str, list[Estimate]]:
    """The estimates of each decoding, which is written as within a sentence."""
    groups: dict[str, list[Estimate]] = {}
    for cell in cells:
        groups.setdefault(decoding_phrase(cell.decoding), []).append(cell)
    return groups


def enumerated(items: Sequence[str]) -> str:
    """'a, b and c'."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1]))) if items else ""


def _at(cells: Sequence[Estimate]) -> str:
    return enumerated([f"{phrase} ({signed(_largest(some))})" for phrase, some in by_decoding(cells).items()])


def pair(cell: Estimate) -> str:
    """What a difference is between: 'SM vs. MLE', 'SM vs. MLE with top-p 0.95'."""
    first, against = cell.variant.label, cell.against
    if against is None:
        return first
    if against.decoding == cell.decoding:
        return f"{first} vs. {against.variant.label}"
    if against.decoding == without_rule(cell.decoding):
        return f"{first} with the takeback rule vs. without"
    return f"{first} vs. {against.variant.label} {decoding_phrase(against.decoding)}"


# ---- grids ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """A table in Markdown: rows as wide as its header, each named by its first cell."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def repair_grid(table: Table, comparison: Comparison, before: Sequence[str] = ()) -> Grid:
    """Repair and false-alarm rate of each variant under each kind of corruption, after the columns ``before``."""
    columns = [*before, *(f"{name}[{kind}]" for kind in comparison.corruptions for name in BACKSPACE.values())]
    return variants_grid(table, [("", column) for column in columns], (plain, span))


def variants_grid(
    table: Table, columns: Sequence[tuple[str, str]], writers: Sequence[Callable[[Estimate | None], str]]
) -> Grid:
    """A row per variant; for each (decoding, quantity) a column per writer, the second one its interval."""
    header = []
    for decoding, what in columns:
        header += [", ".join(filter(None, (heading(what), decoding_label(decoding)))), INTERVAL][: len(writers)]
    rows = [
        [
            variant.name,
            *(write(table.find(variant, *column)) for column in columns for write in writers),
        ]
        for variant in table.variants
    ]
    return Grid(["method", *header], rows)


# ---- numbers ----------------------------------------------------------------------------------------


def with_spread(cell: Estimate | None) -> str:
    """Mean ± standard deviation between seeds, or the mean alone with one seed."""
    if cell is None:
        return "-"
    return plain(cell) + ("" if cell.sd is None else f" ± {cell.sd:.{describe(cell.quantity).digits}f}")


def signed(cell: Estimate | None) -> str:
    """A difference with its sign."""
    if cell is None:
        return "-"
    sign = "+" if round(cell.mean, describe(cell.quantity).digits) > 0 else ""
    return sign + plain(cell)


def signed_bold(cell: Estimate | None) -> str:
    """A difference with its sign, in bold where it is significant."""
    return f"**{signed(cell)}**" if cell is not None and cell.significant else signed(cell)


def plain(cell: Estimate | None) -> str:
    return "-" if cell is None else number(cell.mean, describe(cell.quantity).digits)


def printed(paper: Reported | None) -> str:
    """The paper's number as it prints it."""
    if paper is None:
        return "-"
    return f"{paper.value:g}" + (f" ± {paper.spread:g}" if paper.spread is not None else "")


def span(cell: Estimate | None) -> str:
    """The interval: '0.1 to 0.3'."""
    if cell is None or cell.low is None or cell.high is None:
        return "-"
    digits = describe(cell.quantity).digits
    return f"{number(cell.low, digits)} to {number(cell.high, digits)}"


def quartiles(cost: Estimate | None, scale: float, digits: int) -> str:
    """A cost: '41.2 [40.8, 42.0]'; the median alone where it was counted once or never differed."""
    if cost is None:
        return "-"
    text = f"{cost.mean * scale:,.{digits}f}"
    if cost.low is None or cost.high is None or cost.low == cost.high:
        return text
    return f"{text} [{cost.low * scale:,.{digits}f}, {cost.high * scale:,.{digits}f}]"


def p_value(p: float | None) -> str:
    """'p = 0.013', 'p < 0.001'."""
    return "p < 0.001" if p is not None and p < 0.001 else f"p = {p:.2g}" if p is not None else "-"


def number(value: float, digits: int) -> str:
    """So many decimals; no negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _short(value) -> str:
    """The beginning of a digest is enough to compare it by."""
    return value[:12] if isinstance(value, str) else str(value)
