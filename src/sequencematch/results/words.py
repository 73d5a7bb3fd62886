"""How everything is written: labels, numbers, captions, sentences and grids. Nothing else formats a number.

A quantity's name may go on: ``repair_rate[random]`` is a repair rate under one kind of corruption,
``bleu_minus_mle`` a paired difference of BLEU.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sequencematch.results.estimates import Estimate, bracketed, grouped, medians, variant_of
from sequencematch.settings.decoding_names import without_rule


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
    """The row that others are compared with, and the quantities shown."""

    title: str
    baseline: str
    shown: Sequence[str]


BENCHMARKS = {
    "growth": Benchmark("A gradient step over lengths and batches", "mle", ["step"]),
    "masking": Benchmark("A step of BC by state tree and by Algorithm 2", "algorithm_2", ["step", "mask_bytes"]),
    "projection": Benchmark("From hidden states to l(a|s) and V(s), in a step of BC", "all_logits", ["scores", "step"]),
    "sampling": Benchmark("Sampling, without gradient steps", "generate", ["tokens_per_second", "tokens"]),
    "concurrent": Benchmark(
        "Rollouts between steps and concurrent with training, a core for each process", "mle", ["step", "waiting"]
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
    "beams": "a beam of {}",
    "best_of": "best of {}",
    "majority": "majority of {}",
}
PHRASES = {"": "on held-out text", "sampled": "with sampling", "greedy": "with greedy decoding"}
INTERVAL = "95% interval"


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


def heading(quantity: str) -> str:
    """'repair rate, random' for 'repair_rate[random]'."""
    return ", ".join(filter(None, (describe(quantity).label, bracketed(quantity))))


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def pair_sentences(differences: Iterable[Estimate]) -> list[str]:
    """A line for each pair of methods: where they differ significantly, with the largest difference in each decoding.

    'SM vs. MLE: significantly better when perturbed at 0.1 (+0.129), worse with greedy decoding (-0.061); 5 of 8 are
    not significant.' The intervals are in the grid.
    """
    return [f"{name}: {_findings(cells)}" for name, cells in grouped(differences, pair).items()]


def _findings(cells: Sequence[Estimate]) -> str:
    if all(cell.low is None for cell in cells):
        return f"no interval from one seed (largest difference {signed(_largest(cells))})."
    verdicts = grouped(cells, verdict)
    rest = len(verdicts.pop(NOT_SIGNIFICANT, ()))
    if not verdicts:
        return f"no significant difference (largest of {rest}: {signed(_largest(cells))})."
    said = [f"{outcome(some[0])} {_at(some)}" for _, some in sorted(verdicts.items())]
    return f"significantly {', '.join(said)}" + f"; {rest} of {len(cells)} are not significant" * bool(rest) + "."


def _largest(cells: Sequence[Estimate]) -> Estimate:
    return max(cells, key=lambda cell: abs(cell.mean))


# How a difference comes out: significant after the correction, by its own interval only, or not.
NOT_SIGNIFICANT = "not significant"
OUTCOMES = ("better", "better, uncorrected", NOT_SIGNIFICANT, "worse, uncorrected", "worse")


def outcome(cell: Estimate) -> str:
    """One of ``OUTCOMES``, for the first of the two that are compared."""
    if not (cell.significant or cell.excludes_0):
        return NOT_SIGNIFICANT
    better = (cell.mean < 0) == describe(cell.quantity).lower
    return ("better" if better else "worse") + ", uncorrected" * (not cell.significant)


def verdict(cell: Estimate) -> str:
    """'significantly better', 'significantly worse' or 'not significant'."""
    return f"significantly {outcome(cell)}" if cell.significant else NOT_SIGNIFICANT


def enumerated(items: Sequence[str]) -> str:
    """'a, b and c'."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1]))) if items else ""


def _at(cells: Sequence[Estimate]) -> str:
    by_decoding = grouped(cells, lambda cell: decoding_phrase(cell.decoding))
    return enumerated([f"{phrase} ({signed(_largest(some))})" for phrase, some in by_decoding.items()])


def pair(cell: Estimate) -> str:
    """What a difference is between: 'SM vs. MLE', 'SM vs. MLE with top-p 0.95'."""
    first, against = cell.variant.label, cell.against
    if against is None:
        return first
    if against.decoding == cell.decoding:
        return f"{first} vs. {variant_of(against).label}"
    if against.decoding == without_rule(cell.decoding):
        return f"{first} with a rule vs. without"
    return f"{first} vs. {variant_of(against).label} {decoding_phrase(against.decoding)}"


# What a step and an amortised step of our row may cost, in token floors; and what the objective may take of a step.
BUDGETS = {"gradient step": ("step_ratio", 1.15), "amortised with sampling": ("amortised_ratio", 1.35)}
OBJECTIVE_BUDGET = 0.10
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
        for what, (quantity, factor) in BUDGETS.items():
            said, why = f"{label}, {what}: {{}} times the MLE step", f" ({factor:.2f} x the token floor of {floor:.2f})"
            found.append(_target(said, of[row, quantity], factor * floor, ".2f", why))
        share = of[row, "objective_share"]
        found.append(_target(f"{label}, objective: {share:.1%} of the step", share, OBJECTIVE_BUDGET, ".0%"))
    return found


def benchmark_verdicts(costs: Sequence[Estimate]) -> list[str]:
    """Whether our row of a benchmark keeps its limit in each case: its ratio to the baseline, or its share of waiting.

    Of sampling with pops also whether every push was fed once and no pop was fed.
    """
    found = []
    for cost in costs:
        case, ratio = cost.where.task, cost.ratio
        place = cost.where.method, cost.quantity
        if place == ("state_tree", "step") and ratio is not None:
            limit = TREE_BUDGET if int(case) >= LONG else SHORT_TREE_BUDGET
            found.append(_target(f"{case} tokens: {{}} times Algorithm 2's", ratio, limit))
        elif place == ("ours", "tokens_per_second") and ratio is not None:
            found.append(_target(f"{case}: {{}} times `generate`'s", ratio, SAMPLING_BUDGET, least=True))
        elif place == ("beside", "waiting"):
            said = f"Concurrent with training: {cost.mean:.1%} of a step is spent waiting for rollouts"
            found.append(_target(said, cost.mean, WAITING_BUDGET, ".0%"))
    if counted := {cost.quantity: cost.mean for cost in costs if "pops" in cost.where.task}:
        found.append(
            f"With {counted['pops']:.0f} pops: {counted['tokens']:.0f} pushes, {counted['last_pushes']:.0f} of them "
            f"the last of a rollout, and {counted['tokens_fed']:.0f} tokens fed: none for a pop."
        )
    return found


def _target(said: str, value: float, limit: float, form: str = "g", why: str = "", least: bool = False) -> str:
    """'128 tokens: 0.80 times Algorithm 2's; at most 0.85: *met*', a sentence; {} in ``said`` is the value."""
    bound, met = ("least", value >= limit) if least else ("most", value <= limit)
    return f"{said.format(f'{value:.2f}')}; at {bound} {limit:{form}}{why}: *{'met' if met else 'not met'}*."


Row = TypeVar("Row")
Column = TypeVar("Column")
Writer = Callable[[Estimate], str]


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
    rows: Iterable[Row], columns: Mapping[str, Column], find: Callable[[Row, Column], Estimate | None], *writers: Writer
) -> Grid:
    """A grid without row labels: per heading one column per writer, the second of intervals; '-' was not measured."""
    header = [text for heading in columns for text in (heading, INTERVAL)[: len(writers)]]
    found = ([find(row, column) for column in columns.values()] for row in rows)
    return Grid(header, [[write(one) if one else "-" for one in row for write in writers] for row in found])


def with_spread(cell: Estimate) -> str:
    """Mean ± standard deviation between seeds, or the mean alone with one seed."""
    return plain(cell) + ("" if cell.sd is None else f" ± {cell.sd:.{describe(cell.quantity).digits}f}")


def signed(cell: Estimate) -> str:
    """A difference with its sign."""
    return "+" * (round(cell.mean, describe(cell.quantity).digits) > 0) + plain(cell)


def signed_bold(cell: Estimate) -> str:
    """A difference with its sign, in bold where it is significant."""
    return f"**{signed(cell)}**" if cell.significant else signed(cell)


def plain(cell: Estimate) -> str:
    return number(cell.mean, describe(cell.quantity).digits)


def printed(cell: Estimate) -> str:
    """The paper's number as it prints it."""
    if cell.paper is None:
        return "-"
    return f"{cell.paper.value:g}" + (f" ± {cell.paper.spread:g}" if cell.paper.spread is not None else "")


def span(cell: Estimate) -> str:
    """The interval: '0.1 to 0.3'."""
    if cell.low is None or cell.high is None:
        return "-"
    digits = describe(cell.quantity).digits
    return f"{number(cell.low, digits)} to {number(cell.high, digits)}"


def quartiles(cost: Estimate) -> str:
    """A cost: '41.2 [40.8, 42.0]'; the median alone where it was counted once or never differed."""
    how = describe(cost.quantity)
    shown = [cost.mean] if cost.low is None or cost.low == cost.high else [cost.mean, cost.low, cost.high]
    median, *ends = (f"{value * how.scale:,.{how.digits}f}" for value in shown if value is not None)
    return f"{median} [{', '.join(ends)}]" if ends else median


def duration(seconds: float) -> str:
    """'0.8 s', '42 s', '3 min 5 s', '2 h 14 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def number(value: float, digits: int) -> str:
    """So many decimals; no negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def pooled_sentences(lines: Iterable[Estimate]) -> list[str]:
    """'SM vs. BC over 4 tasks: sampled **-1.2** (95% interval -2.0 to -0.4, p = 0.009); ...', a sentence a pair."""
    pairs: dict[tuple[str, int], list[str]] = {}
    for line in lines:
        p = line.p_adjusted or 0.0
        chance = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
        said = f"{line.decoding} {signed_bold(line)} ({INTERVAL} {span(line)}, {chance})"
        pairs.setdefault((pair(line), line.n), []).append(said)
    return [f"{name} over {n} tasks, points: {'; '.join(said)}." for (name, n), said in pairs.items()]
