"""A measured table in Markdown: for reading, where the CSV is for computing."""

from collections.abc import Iterable, Sequence

from sequencematch.comparison import BUDGET_NAMES, Comparison, Variant, rate
from sequencematch.intervals import verdict
from sequencematch.paper import Reported
from sequencematch.tables import BACKSPACE, STATISTICS, Cell, baselines

HEADERS = {
    "pops_per_sequence": "pops per sequence",
    "wrong_pop_share": "pops of a wrong token",
    "cut_off_share": "cut off",
}


def to_markdown(cells: Sequence[Cell], comparison: Comparison, title: str) -> str:
    """Caption, tables of accuracy, differences and backspaces, and what the intervals support, in words."""
    parts = [
        f"# {title}",
        _caption(comparison),
        "## Accuracy",
        "Mean ± standard deviation between seeds (95% interval).",
        _accuracy(cells, comparison),
        *_notes(cells),
        "## Paired differences of accuracy",
        "Same seeds, same questions: mean (95% interval).",
        _differences(cells, comparison),
        "## Backspace",
        "Repair rate: mean probability of `<bkspc>` right after an injected wrong token; false-alarm rate: "
        "right after a true one (95% interval). The rest is of sampled and of greedy decoding.",
        _backspace(cells, comparison),
        "## What the intervals support",
        "Each interval holds by itself; nothing corrects for how many there are.",
        "\n".join(f"- {sentence}" for sentence in _sentences(cells)) or "- Nothing to compare: one method only.",
    ]
    return "\n\n".join(parts) + "\n"


def decoding_label(name: str) -> str:
    """'perturbed at 0.05' for 'perturbed=0.05'."""
    return f"{name.partition('=')[0]} at {rate(name):.3g}" if "=" in name else name


def paper_label(cells: Sequence[Cell]) -> str:
    """'paper (table 6)', or 'paper' where it reports nothing."""
    sources = dict.fromkeys(cell.paper.source for cell in cells if cell.paper)
    return f"paper ({', '.join(sources)})" if sources else "paper"


def eta_label(variant: Variant) -> str:
    return f"{variant.eta:g}" if variant.eta else "none"


def _caption(comparison: Comparison) -> str:
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
    if any(rate(name) for name in comparison.decodings):
        sentences.append(
            "*Perturbed* decoding samples at temperature 1 and replaces emitted tokens by wrong ones at the "
            "stated rate; this resembles the noise that BC and SequenceMatch were trained on, and MLE was not."
        )
    return " ".join(sentences)


def _short(value) -> str:
    """Digests are told apart by their beginning."""
    return value[:12] if isinstance(value, str) else str(value)


def _accuracy(cells: Sequence[Cell], comparison: Comparison) -> str:
    rows = []
    for variant in comparison.variants:
        found = [_find(cells, variant, decoding, "accuracy") for decoding in comparison.decodings]
        paper = next((cell.paper for cell in found if cell.paper), None)
        rows.append([variant.label, eta_label(variant), *map(_with_spread, found), _printed(paper)])
    return _grid(["method", "eta", *map(decoding_label, comparison.decodings), paper_label(cells)], rows)


def _differences(cells: Sequence[Cell], comparison: Comparison) -> str:
    rows = []
    for variant in comparison.variants:
        for other in baselines(comparison, variant):
            quantity = f"accuracy_minus_{other.method}"
            found = [_find(cells, variant, decoding, quantity) for decoding in comparison.decodings]
            rows.append([f"{variant.label} - {other.label}", eta_label(variant), *map(_signed, found)])
    return _grid(["difference", "eta", *map(decoding_label, comparison.decodings)], rows)


def _backspace(cells: Sequence[Cell], comparison: Comparison) -> str:
    decodings = [name for name in ("sampled", "greedy") if name in comparison.decodings]
    columns = [(decoding, name) for name in STATISTICS for decoding in decodings]
    rows = [
        [
            variant.label,
            eta_label(variant),
            *(_with_interval(_find(cells, variant, "", name)) for name in BACKSPACE.values()),
            *(_plain(_find(cells, variant, *column)) for column in columns),
        ]
        for variant in comparison.variants
    ]
    header = [f"{HEADERS[name]}, {decoding}" for decoding, name in columns]
    return _grid(["method", "eta", "repair rate", "false-alarm rate", *header], rows)


def _sentences(cells: Sequence[Cell]) -> Iterable[str]:
    """'SM above BC at eta 0.2 (sampled): not resolved (difference -0.010, 95% interval -0.030 to 0.010)'."""
    for decoding in dict.fromkeys(cell.decoding for cell in cells):
        for cell in (c for c in cells if c.decoding == decoding and c.quantity.startswith("accuracy_minus_")):
            other = Variant(cell.quantity.removeprefix("accuracy_minus_"), 0).label
            where = f" at eta {cell.variant.eta:g}" if cell.variant.eta else ""
            yield (
                f"{cell.variant.label} above {other}{where} ({decoding_label(cell.decoding)}): "
                f"{verdict(cell.low, cell.high)} (difference {_number(cell.mean)}, "
                f"95% interval {_number(cell.low)} to {_number(cell.high)})"
            )


def _notes(cells: Sequence[Cell]) -> list[str]:
    """What must be said beside the paper's numbers."""
    notes = [f"{c.variant.label} at eta {c.variant.eta:g}: {c.paper.note}" for c in cells if c.paper and c.paper.note]
    return ["The paper's numbers: " + "; ".join(notes) + "."] if notes else []


def _find(cells: Sequence[Cell], variant: Variant, decoding: str, quantity: str) -> Cell | None:
    wanted = (variant, decoding, quantity)
    return next((cell for cell in cells if (cell.variant, cell.decoding, cell.quantity) == wanted), None)


def _with_spread(cell: Cell) -> str:
    return f"{cell.mean:.3f} ± {'-' if cell.sd is None else f'{cell.sd:.3f}'} ({_range(cell)})"


def _with_interval(cell: Cell | None) -> str:
    return "-" if cell is None else f"{cell.mean:.3f} ({_range(cell)})"


def _signed(cell: Cell) -> str:
    sign = "+" if round(cell.mean, 3) > 0 else ""
    return f"{sign}{_number(cell.mean)} ({_range(cell)})"


def _plain(cell: Cell | None) -> str:
    return "-" if cell is None else f"{cell.mean:.3f}"


def _printed(paper: Reported | None) -> str:
    if paper is None:
        return "-"
    return f"{paper.value:g}" + (f" ± {paper.spread:g}" if paper.spread is not None else "")


def _range(cell: Cell) -> str:
    return f"{_number(cell.low)} to {_number(cell.high)}"


def _number(value: float) -> str:
    """Three decimals; no negative zero."""
    return f"{round(value, 3) + 0.0:.3f}"


def _grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
