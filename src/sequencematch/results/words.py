"""How everything is written: labels, numbers, captions, sentences and grids. Nothing else formats a number.

A quantity's name may go on: ``repair_rate[random]`` is a repair rate under one kind of corruption,
``bleu_minus_mle`` a paired difference of BLEU.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sequencematch.results.estimates import Estimate, Reported, Table, bracketed, medians
from sequencematch.results.runs import BUDGET_NAMES, Comparison
from sequencematch.settings.decoding_names import without_rule
from sequencematch.settings.map import DEFAULT, MINUS


@dataclass(frozen=True)
class Quantity:
    """How a quantity is written.

    top: the greatest value (None: there is none); the least is 0. lower: whether lower values are better. by_seed:
    whether a run has one number of it per decoding; tables show it with its spread wherever metrics.json has it. scale:
    of a cost, what it is multiplied by: 1,000 for seconds written as milliseconds.
    """

    label: str
    digits: int = 3
    top: float | None = None
    lower: bool = False
    by_seed: bool = False
    scale: float = 1


QUANTITIES = {
    "accuracy": Quantity("accuracy", top=1),
    "bleu": Quantity("BLEU", digits=2, top=100),
    "chrf": Quantity("chrF", digits=2, top=100, by_seed=True),
    "repair_rate": Quantity("repair rate", top=1),
    "false_alarm_rate": Quantity("false-alarm rate", top=1),
    "pushes_per_sequence": Quantity("tokens written per answer", digits=2, by_seed=True),
    "pops_per_sequence": Quantity("deletions per sequence", by_seed=True),
    "deletions_per_sequence": Quantity("deleting actions per sequence", by_seed=True),  # of several tokens at once
    "wrong_pop_share": Quantity("deletions of a wrong token", top=1, by_seed=True),
    "cut_off_share": Quantity("cut off", top=1, by_seed=True),
    "taken_back": Quantity("errors ever deleted", top=1),
    "right_after_error": Quantity("answers right in the end", top=1),
    "tokens_after_error": Quantity("tokens written after the error", digits=2, lower=True),
    "perplexity": Quantity("perplexity", digits=2),
    "mauve": Quantity("MAUVE", top=1),
    "entropy": Quantity("n-gram entropy", digits=2),
    "repetition": Quantity("repetition", top=1),
    "distinct": Quantity("distinct", top=1),
    "points": Quantity("points", digits=1),  # of the map: accuracy in per cent, or BLEU
    "held_out_nll": Quantity("held-out NLL", lower=True),
    "held_out_nll_given_no_deletion": Quantity("held-out NLL given no deletion", lower=True),
    # Of costs; ``scores`` here are the time of a projection.
    "step": Quantity("step, ms", digits=1, scale=1e3),
    "step_ratio": Quantity("to MLE", digits=2),
    "generation": Quantity("generation, s", digits=2),
    "steps_per_sample": Quantity("steps per generation", digits=0),
    "amortised": Quantity("amortised, ms", digits=1, scale=1e3),
    "amortised_ratio": Quantity("amortised to MLE", digits=2),
    "token_floor": Quantity("token floor", digits=2),
    "tokens": Quantity("tokens", digits=0),
    "padding_share": Quantity("padding"),
    "peak_memory": Quantity("peak memory, MB", digits=1, scale=1e-6),
    "mask_bytes": Quantity("memory of the masks, kB", digits=1, scale=1e-3),
    "scores": Quantity("projection and its backward pass, ms", digits=1, scale=1e3),
    "tokens_per_second": Quantity("tokens per second", digits=0),
    "waiting": Quantity("share of waiting"),
}
BY_SEED = tuple(name for name, quantity in QUANTITIES.items() if quantity.by_seed)


def describe(name: str) -> Quantity:
    """The quantity that a name starts with: BLEU for ``bleu_minus_mle``."""
    return QUANTITIES[name.partition("[")[0].partition("_minus_")[0]]


# The rows of tables of costs.
LABELS = {
    "mle": "MLE",
    "bc_paper": "BC, as in the paper",
    "bc": "BC, ours",
    "sm_paper": "SM, as in the paper",
    "sm_tree": "SM, with the state tree",
    "sm": "SM, ours",
    "sm_shared": "SM, ours, shared prompts",
    "algorithm_2": "Algorithm 2",
    "state_tree": "state tree",
    "generate": "`generate` of transformers",
    "ours": "our sampler",
    "all_logits": "all logits at once",
    "training": "as in training",
    "between": "SM, rollouts between steps",
    "beside": "SM, concurrent rollouts",
}


@dataclass(frozen=True)
class Benchmark:
    """The row that others are compared with, and the quantities shown, with their headings."""

    title: str
    baseline: str
    shown: Mapping[str, str]


BENCHMARKS = {
    "growth": Benchmark("A gradient step over lengths and batches", "mle", {"step": "Milliseconds"}),
    "masking": Benchmark(
        "A step of BC by state tree and by Algorithm 2",
        "algorithm_2",
        {"step": "Milliseconds", "mask_bytes": "Memory of the masks, kB"},
    ),
    "projection": Benchmark(
        "From hidden states to l(a|s) and V(s), in a step of BC",
        "all_logits",
        {"scores": "Milliseconds of the projection and its backward pass", "step": "Of the step"},
    ),
    "sampling": Benchmark(
        "Sampling, without gradient steps",
        "generate",
        {"tokens_per_second": "Tokens per second", "tokens": "Tokens"},
    ),
    "concurrent": Benchmark(
        "Rollouts between steps and concurrent with training, a core for each process",
        "mle",
        {"step": "Milliseconds of a step, sampling included", "waiting": "Share of waiting"},
    ),
}
PART_LABELS = {
    "data": "data, forward and backward",
    "rollouts": "what rollouts add",
    "objective": "objective",
    "optimiser": "clipping and optimiser",
    "sampling": "sampling, amortised",
}

# What ``<bkspc>`` is measured to do, after a wrong token and after a right one.
BACKSPACE = {"corrupted": "repair_rate", "clean": "false_alarm_rate"}

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


def figure_label(decoding: str) -> str:
    """A decoding's label without the marks of Markdown, for figures."""
    return without_marks(decoding_label(decoding))


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
    return ", ".join(filter(None, (describe(quantity).label, bracketed(quantity))))


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
        return f"{first} with a rule vs. without"
    return f"{first} vs. {against.variant.label} {decoding_phrase(against.decoding)}"


# ---- speed targets of costs -------------------------------------------------------------------------

# What a step and an amortised step of our row may cost, in token floors; and what the objective may take of a step.
STEP_BUDGET, AMORTISED_BUDGET, OBJECTIVE_BUDGET = 1.15, 1.35, 0.10
WITH_BUDGETS = ("sm", "sm_shared")
# The state tree's time over that of Algorithm 2, from this length on and below it; our tokens per second over those of
# generate where rows end together, and where not.
LONG, TREE_BUDGET, SHORT_TREE_BUDGET = 256, 0.85, 1.0
SAMPLING_BUDGET = 1.0
# Rollouts cost a step nothing if it waits less than this share of its time for them.
WAITING_BUDGET = 0.02


def step_verdicts(costs: Sequence[Estimate], case: str) -> list[str]:
    """Whether our rows keep their budgets in a case: the step, the amortised step, and the objective's share."""
    of, found = medians(costs, case), []
    for row in WITH_BUDGETS:
        floor, label = of[row, "token_floor"], LABELS[row]
        for what, quantity, factor in (
            ("gradient step", "step_ratio", STEP_BUDGET),
            ("amortised with sampling", "amortised_ratio", AMORTISED_BUDGET),
        ):
            ratio, limit = of[row, quantity], factor * floor
            found.append(
                f"{label}, {what}: {ratio:.2f} times the MLE step; at most {limit:.2f} "
                f"({factor:.2f} x the token floor of {floor:.2f}): {_verdict(ratio <= limit)}"
            )
        share = of[row, "objective_share"]
        found.append(
            f"{label}, objective: {share:.1%} of the step; at most {OBJECTIVE_BUDGET:.0%}: "
            f"{_verdict(share <= OBJECTIVE_BUDGET)}"
        )
    return found


def masking_verdicts(costs: Sequence[Estimate]) -> list[str]:
    """The state tree's time over Algorithm 2's at each length, with the limit."""
    found = []
    for cost in _rows_of(costs, "state_tree", "step"):
        if cost.ratio is not None:
            length, limit = cost.where.task, TREE_BUDGET if int(cost.where.task) >= LONG else SHORT_TREE_BUDGET
            verdict = _verdict(cost.ratio <= limit)
            found.append(f"{length} tokens: {cost.ratio:.2f} times Algorithm 2's; at most {limit:g}: {verdict}")
    return found


def sampling_verdicts(costs: Sequence[Estimate]) -> list[str]:
    """Our tokens per second over those of ``generate``, with the limits.

    With pops: whether every push was fed once and no pop was fed.
    """
    found = [
        f"{cost.where.task}: {cost.ratio:.2f} times `generate`'s; at least {SAMPLING_BUDGET:g}: "
        f"{_verdict(cost.ratio >= SAMPLING_BUDGET)}"
        for cost in _rows_of(costs, "ours", "tokens_per_second")
        if cost.ratio is not None
    ]
    counted = {cost.quantity: cost.mean for cost in costs if "pops" in cost.where.task}
    if counted:
        found.append(
            f"With {counted['pops']:.0f} pops: {counted['tokens']:.0f} pushes, {counted['last_pushes']:.0f} of them "
            f"the last of a rollout, and {counted['tokens_fed']:.0f} tokens fed: none for a pop."
        )
    return found


def waiting_verdicts(costs: Sequence[Estimate]) -> list[str]:
    """The share of a step that is spent waiting for rollouts of another process."""
    return [
        f"Concurrent with training: {cost.mean:.1%} of a step is spent waiting for rollouts; at most "
        f"{WAITING_BUDGET:.0%}: {_verdict(cost.mean <= WAITING_BUDGET)}"
        for cost in _rows_of(costs, "beside", "waiting")
    ]


VERDICTS: dict[str, Callable[[Sequence[Estimate]], list[str]]] = {
    "masking": masking_verdicts,
    "sampling": sampling_verdicts,
    "concurrent": waiting_verdicts,
}


def _rows_of(costs: Sequence[Estimate], row: str, quantity: str) -> list[Estimate]:
    return [cost for cost in costs if (cost.where.method, cost.quantity) == (row, quantity)]


def _verdict(met: bool) -> str:
    return "*met*." if met else "*not met*."


# ---- grids ------------------------------------------------------------------------------------------

Row = TypeVar("Row")
Column = TypeVar("Column")


@dataclass(frozen=True)
class Grid:
    """A table in Markdown: rows as wide as its header. Grids of the same rows are put side by side with ``+``."""

    header: list[str]
    rows: list[list[str]]

    def __add__(self, right: "Grid") -> "Grid":
        rows = [[*one, *other] for one, other in zip(self.rows, right.rows, strict=True)]
        return Grid([*self.header, *right.header], rows)

    def __str__(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def numbers(
    rows: Iterable[Row],
    columns: Mapping[str, Column],
    find: Callable[[Row, Column], Estimate | None],
    *writers: Callable[[Estimate | None], str],
) -> Grid:
    """The estimates of a grid without the labels of its rows: per heading of ``columns`` one column per writer.

    The second writer is that of the interval.
    """
    header = [text for heading in columns for text in (heading, INTERVAL)[: len(writers)]]
    found = ([find(row, column) for column in columns.values()] for row in rows)
    return Grid(header, [[write(one) for one in row for write in writers] for row in found])


def by_variant(
    table: Table, columns: Mapping[str, tuple[str, str]], *writers: Callable[[Estimate | None], str]
) -> Grid:
    """A row per variant of a table; ``columns``: decoding and quantity of each heading."""
    labels = Grid(["method"], [[variant.name] for variant in table.variants])
    return labels + numbers(table.variants, columns, lambda variant, column: table.find(variant, *column), *writers)


def headed(*columns: tuple[str, str]) -> dict[str, tuple[str, str]]:
    """Decodings and quantities by their heading: 'accuracy, greedy'."""
    return {", ".join(filter(None, (heading(what), decoding_label(at)))): (at, what) for at, what in columns}


def repair_grid(table: Table, comparison: Comparison, before: Sequence[str] = ()) -> Grid:
    """Repair and false-alarm rate of each variant under each kind of corruption, after the columns ``before``."""
    columns = [*before, *(f"{name}[{kind}]" for kind in comparison.corruptions for name in BACKSPACE.values())]
    return by_variant(table, headed(*(("", column) for column in columns)), plain, span)


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


def quartiles(cost: Estimate | None) -> str:
    """A cost: '41.2 [40.8, 42.0]'; the median alone where it was counted once or never differed."""
    if cost is None:
        return "-"
    how = describe(cost.quantity)
    shown = [cost.mean] if cost.low is None or cost.low == cost.high else [cost.mean, cost.low, cost.high]
    median, *ends = (f"{value * how.scale:,.{how.digits}f}" for value in shown if value is not None)
    return f"{median} [{', '.join(ends)}]" if ends else median


def multiple(ratio: float) -> str:
    """'1.25 x'."""
    return f"{number(ratio, 2)} x"


def duration(seconds: float) -> str:
    """'0.8 s', '42 s', '3 min 5 s', '2 h 14 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def p_value(p: float | None) -> str:
    """'p = 0.013', 'p < 0.001'."""
    return "p < 0.001" if p is not None and p < 0.001 else f"p = {p:.2g}" if p is not None else "-"


def number(value: float, digits: int) -> str:
    """So many decimals; no negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _short(value) -> str:
    """The beginning of a digest is enough to compare it by."""
    return value[:12] if isinstance(value, str) else str(value)


def role_label(role: str) -> str:
    return role.upper()


def quantity_label(quantity: str) -> str:
    """'SM vs. MLE' for 'sm_minus_mle', 'SM vs. default' for a difference to the default cell."""
    first, second = quantity.split(MINUS)
    return f"{role_label(first)} vs. {'default' if second == DEFAULT else role_label(second)}"


def pooled_sentences(lines: Iterable[Estimate]) -> list[str]:
    """'SM vs. BC over 4 tasks: sampled **-1.2** (95% interval -2.0 to -0.4, p = 0.009); ...', a sentence a pair."""
    pairs: dict[tuple[str, str, int], list[str]] = {}
    for line in lines:
        if line.against:
            key = (line.variant.label, line.against.variant.label, line.n)
            said = f"{line.decoding} {signed_bold(line)} ({INTERVAL} {span(line)}, {p_value(line.p_adjusted)})"
            pairs.setdefault(key, []).append(said)
    return [f"{one} vs. {other} over {n} tasks, points: {'; '.join(said)}." for (one, other, n), said in pairs.items()]
