"""What the pages of all tables share: labels, numbers, the caption, and differences in words."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from sequencematch.scores.comparison import BUDGET_NAMES, Comparison, Variant
from sequencematch.scores.intervals import verdict
from sequencematch.scores.paper import Reported
from sequencematch.scores.quantities import describe, key
from sequencematch.tables.document import Grid
from sequencematch.tables.scores import BACKSPACE, Cell

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
    "surprise": "surprise {}",
    "takeback": "taken back below {}",
    "takeback_ratio": "taken back below {} of the likeliest",
    "best_of": "best of {}",
    "majority": "majority of {}",
}
REPAIR = (
    "Repair rate: mean probability of `<bkspc>` right after an injected wrong token; false-alarm rate: right after a "
    "true one (95% interval)."
)
CORRUPTIONS = {
    "task": "*task*: digits of the question's base, the noise of training unless the settings say otherwise",
    "random": "*random*: any token",
    "unigram": "*unigram*: tokens as frequent as in the data",
    "model": "*model*: likely wrong tokens of the base model",
}


def decoding_label(name: str) -> str:
    """'perturbed at 0.05' for 'perturbed=0.05'; 'greedy, `<bkspc>` bias -2' for what is joined."""
    parts = (part.partition("=") for part in name.split("+"))
    return ", ".join(DECODINGS.get(kind, kind).format(value) for kind, _, value in parts)


def paper_label(cells: Sequence[Cell]) -> str:
    """'paper (table 6)', or 'paper' where it reports nothing."""
    sources = dict.fromkeys(cell.paper.source for cell in cells if cell.paper)
    return f"paper ({', '.join(sources)})" if sources else "paper"


def eta_label(variant: Variant) -> str:
    return f"{variant.eta:g}" if variant.eta else "none"


def heading(quantity: str) -> str:
    """'repair rate, random' for 'repair_rate[random]'."""
    return ", ".join(filter(None, (describe(quantity).label, key(quantity))))


def caption(comparison: Comparison) -> str:
    """What was compared: runs, budget, code."""
    seeds, budget = comparison.seeds, comparison.first["budget"]
    several = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    sentences = [
        f"Task `{comparison.first['task']}`, scale `{comparison.first['scale']}`; "
        f"{several} ({', '.join(map(str, seeds))}); {comparison.questions} test questions.",
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
            "stated rate; this resembles the noise that BC and SequenceMatch were trained on, and MLE was not."
        )
    return " ".join(sentences)


def repair_sentence(comparison: Comparison) -> str:
    """What the repair grid shows, and where its wrong tokens come from."""
    kinds = "; ".join(CORRUPTIONS.get(kind, f"*{kind}*") for kind in comparison.corruptions)
    return f"{REPAIR} Wrong tokens are of the kinds {kinds}." if kinds else REPAIR


def repair_grid(cells: Sequence[Cell], comparison: Comparison, before: Sequence[str] = ()) -> Grid:
    """Repair and false-alarm rate of each variant under each kind of corruption, after the columns ``before``."""
    columns = [*before, *(f"{name}[{kind}]" for kind in comparison.corruptions for name in BACKSPACE.values())]
    name = "Answers to wrong and to true tokens, by kind of corruption"
    return variants_grid(name, cells, comparison, [("", column) for column in columns], with_interval)


def variants_grid(
    name: str,
    cells: Sequence[Cell],
    comparison: Comparison,
    columns: Sequence[tuple[str, str]],
    write: Callable[[Cell | None], str],
) -> Grid:
    """A row per variant, a column per (decoding, quantity)."""
    header = [", ".join(filter(None, (heading(what), decoding_label(decoding)))) for decoding, what in columns]
    rows = [
        [variant.label, eta_label(variant), *(write(find_cell(cells, variant, *column)) for column in columns)]
        for variant in comparison.variants
    ]
    return Grid(name, ["method", "eta", *header], rows)


def difference_sentences(cells: Iterable[Cell]) -> Iterator[str]:
    """'SM above BC at eta 0.2 (sampled): not resolved (difference -0.010, 95% interval -0.030 to 0.010)'."""
    for cell in cells:
        metric, _, rest = cell.quantity.partition("_minus_")
        other, digits = Variant(rest.partition("[")[0], 0).label, describe(metric).digits
        if against := key(cell.quantity):
            other += f" with {decoding_label(against)}"
        where = f" at eta {cell.variant.eta:g}" if cell.variant.eta else ""
        how = f" ({decoding_label(cell.decoding)})" if cell.decoding else ""
        found = "no interval from one seed" if cell.low is None else verdict(cell.low, cell.high)
        difference = number(cell.mean, digits) + ("" if cell.low is None else f", 95% interval {span(cell)}")
        yield f"{cell.variant.label} above {other}{where}{how}: {found} (difference {difference})"


def find_cell(cells: Sequence[Cell], variant: Variant, decoding: str, quantity: str) -> Cell | None:
    wanted = (variant, decoding, quantity)
    return next((cell for cell in cells if (cell.variant, cell.decoding, cell.quantity) == wanted), None)


def with_all(cell: Cell | None) -> str:
    """Mean ± spread (interval)."""
    return "-" if cell is None else f"{with_spread(cell)} ({span(cell)})"


def with_spread(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    digits = describe(cell.quantity).digits
    return f"{number(cell.mean, digits)} ± {'-' if cell.sd is None else f'{cell.sd:.{digits}f}'}"


def with_interval(cell: Cell | None) -> str:
    return "-" if cell is None else f"{plain(cell)} ({span(cell)})"


def signed(cell: Cell | None) -> str:
    """A difference, with its sign and its interval."""
    if cell is None:
        return "-"
    sign = "+" if round(cell.mean, describe(cell.quantity).digits) > 0 else ""
    return f"{sign}{plain(cell)} ({span(cell)})"


def plain(cell: Cell | None) -> str:
    return "-" if cell is None else number(cell.mean, describe(cell.quantity).digits)


def printed(paper: Reported | None) -> str:
    if paper is None:
        return "-"
    return f"{paper.value:g}" + (f" ± {paper.spread:g}" if paper.spread is not None else "")


def span(cell: Cell) -> str:
    """'0.1 to 0.3'."""
    if cell.low is None or cell.high is None:
        return "one seed"
    digits = describe(cell.quantity).digits
    return f"{number(cell.low, digits)} to {number(cell.high, digits)}"


def number(value: float, digits: int) -> str:
    """So many decimals; no negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _short(value) -> str:
    """Digests are told apart by their beginning."""
    return value[:12] if isinstance(value, str) else str(value)
