"""The numbers of a table: estimates of every quantity of every method.

Of questions with an answer: the task's score, ``accuracy`` or ``bleu`` (with ``chrf``, mean and sd only), and its
paired differences. Of text: ``perplexity``, ``mauve``, ``entropy[<order>]``, ``repetition`` and ``distinct`` of a
decoding, as judged; ``held_out_nll`` of a model that may delete, ``held_out_nll_given_no_deletion``. MAUVE has one
number per seed and none per question, so its intervals are Student's over seeds, and there is none with one seed. The
real continuations are the method ``reference``.

Of both: ``repair_rate[<kind>]`` and ``false_alarm_rate[<kind>]`` by kind of corruption; ``pops_per_sequence``,
``wrong_pop_share``, ``cut_off_share`` (mean and sd only). Of errors older than one token, per decoding and number d of
tokens pushed after the error: ``taken_back[<d>]``, ``right_after_error[<d>]``, ``tokens_after_error[<d>]`` (mean and sd
only), over the questions that every seed measured. What cannot exist, such as the repair rate of a policy without
``<bkspc>``, is left out.

Of the map (``measure_map``): points, accuracy in per cent or BLEU, of every reading, and differences between two sides.
Each comparison counts once, however many cells have it (the default cell is part of most axes).

Of costs, medians, quartiles and ratios in the same repeat. Of steps (tables 3 and 4): the parts ``network``,
``scores``, ``objective``, ``optimiser`` of the ``step``, ``generation`` and ``amortised`` in seconds; ``step_ratio``
and ``amortised_ratio``, to the MLE step of the same repeat; ``objective_share`` of the step; ``tokens`` and
``token_floor``, tokens over MLE's; ``padding_share``; ``peak_memory`` in bytes; ``steps_per_sample``. The benchmarks of
parts compare every quantity with the row of a baseline.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from sequencematch.errors import UserError
from sequencematch.results import bleu, estimates, intervals, words
from sequencematch.results.estimates import COSTS, REFERENCE, Cell, Estimate, Reported, Table, Variant, variant_of
from sequencematch.results.intervals import Resampled, adjusted, resampled_mean
from sequencematch.results.measured import Measured
from sequencematch.results.runs import Comparison, read_metrics, right_shares
from sequencematch.settings.decoding_names import concerns_backspace, without_rule
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.map import COLUMNS, MINUS, Reading, Side

BASELINES = ("mle", "bc")
# The column of each quantity in a run's ``per_example`` rows [question, deleted, right].
OLDER_ERRORS = {"taken_back": 1, "right_after_error": 2}
MASKED = "bkspc_masked"


def measure(name: str, comparison: Comparison) -> Table:
    """The table ``name`` of the runs, with the paper's number where there is one."""
    judged = FAMILIES[comparison.family].judged
    of_family = _of_text(comparison) if judged else _of_questions(comparison)
    cells = [*of_family, *repair_estimates(comparison), *older_errors(comparison)]
    order = (*comparison.variants, REFERENCE)
    cells = adjusted(sorted(cells, key=lambda cell: order.index(cell.variant)))
    cells = [replace(cell, n=comparison.questions) for cell in cells]
    scale, task = comparison.first["scale"], comparison.first["task"]
    return Table(name, cells, scale, task, len(comparison.seeds), comparison.questions)


def baselines(comparison: Comparison, variant: Variant) -> list[Variant]:
    """What a variant is compared with: MLE, BC and the method it varies, at its own eta or without eta."""
    methods = dict.fromkeys((*BASELINES, variant.family))
    candidates = [Variant(method, eta) for method in methods for eta in (0, variant.eta)]
    earlier = [other for other in candidates if other in comparison.runs and other.place < variant.place]
    return list(dict.fromkeys(earlier))


def _of_questions(comparison: Comparison) -> Iterator[Estimate]:
    metric = FAMILIES[comparison.family].score
    for decoding in comparison.decodings:
        variants = [variant for variant in comparison.variants if comparison.has(variant, decoding)]
        scores = {variant: _resampled(comparison, variant, decoding) for variant in variants}
        for variant, score in scores.items():
            where = _place(comparison, variant, decoding)
            # The paper samples at temperature 1, so its numbers belong to that decoding only.
            paper = estimates.find(where.task, variant.method, variant.eta, metric) if decoding == "sampled" else None
            yield replace(_within(score, where, metric), paper=paper)
            compared = [(other, decoding) for other in baselines(comparison, variant) if other in scores]
            # What a rule that deletes unlikely tokens adds to the same decoding.
            plain = without_rule(decoding)
            if plain != decoding and plain in comparison.decodings and comparison.has(variant, plain):
                compared.append((variant, plain))
            for other, its in compared:
                difference = score - (scores[other] if its == decoding else _resampled(comparison, other, its))
                yield difference.estimate(where, metric, _place(comparison, other, its))
            yield from _by_seed(comparison, where, words.BY_SEED)


def _resampled(comparison: Comparison, variant: Variant, decoding: str) -> Resampled:
    decoded = [metrics["decodings"][decoding] for metrics in comparison.runs[variant]]
    return score_of(decoded, comparison.family)


def score_of(decoded: Sequence[dict], family: str, unit: float = 1.0) -> Resampled:
    """BLEU, or accuracy as a share (in per cent with a unit of 100), of what each seed decoded."""
    if FAMILIES[family].score == "bleu":
        return intervals.resampled_score(np.array([one["statistics"] for one in decoded]), bleu.corpus_bleu)
    return resampled_mean(unit * np.array([right_shares(one) for one in decoded]))


def text_measures(comparison: Comparison) -> list[str]:
    """What is judged of texts, real ones too: perplexity, entropy by order, repetition, distinct."""
    orders = [f"entropy[{order}]" for order in comparison.first["reference"]["entropy"]]
    return ["perplexity", *orders, "repetition", "distinct"]


def _of_text(comparison: Comparison) -> Iterator[Estimate]:
    names = text_measures(comparison)
    for variant in comparison.variants:
        for decoding in comparison.decodings:
            if comparison.has(variant, decoding):
                where = _place(comparison, variant, decoding)
                yield from _by_seed(comparison, where, (*names, "mauve", *words.BY_SEED))
        yield from _mauve_differences(comparison, variant)
        yield from _held_out(comparison, variant)
    for name in names:  # the real continuations under each seed's judge, which is the same for all methods
        yield _mean(comparison.reference(name), _place(comparison, REFERENCE), name)


def _mauve_differences(comparison: Comparison, variant: Variant) -> Iterator[Estimate]:
    """Differences of texts in MAUVE: to the baselines, sampled; and with a rule, to them and to no rule.

    A policy with <bkspc>, which may truncate, is also compared with itself without it, and with MLE's truncations.
    """
    others = baselines(comparison, variant)
    pairs = [("sampled", other, "sampled") for other in others]
    if any(metrics["repair"] is not None for metrics in comparison.runs[variant]):
        unlike = ("sampled", "greedy", "perturbed")
        truncations = [d for d in comparison.decodings if not d.startswith(unlike) and not concerns_backspace(d)]
        pairs += [("sampled", variant, MASKED)]
        pairs += [("sampled", mle, d) for mle in others if mle.method == "mle" for d in truncations]
    for ruled, plain in ((d, without_rule(d)) for d in comparison.decodings if d != without_rule(d)):
        pairs += [*((ruled, other, ruled) for other in others), (ruled, variant, plain)]
    for decoding, other, its in pairs:
        if comparison.has(variant, decoding) and comparison.has(other, its):
            own, theirs = (comparison.statistic(*side, "mauve") for side in ((variant, decoding), (other, its)))
            if len(own) and len(theirs):  # too few texts have no MAUVE
                places = [_place(comparison, variant, decoding), _place(comparison, other, its)]
                difference = own - theirs
                found = intervals.estimate_seeds(difference) if len(own) > 1 else Estimate(float(difference.mean()))
                yield replace(found, where=places[0], quantity="mauve", against=places[1])


def _held_out(comparison: Comparison, variant: Variant) -> Iterator[Estimate]:
    """The model's own loss on the real continuations, and given that it does not delete; every continuation has one."""
    where, own = _place(comparison, variant), _losses(comparison, variant)
    yield _losses(comparison, variant, "held_out_given_no_deletion").estimate(where, "held_out_nll_given_no_deletion")
    yield own.estimate(where, "held_out_nll")
    for other in baselines(comparison, variant):
        yield (own - _losses(comparison, other)).estimate(where, "held_out_nll", _place(comparison, other))


def _losses(comparison: Comparison, variant: Variant, name: str = "held_out") -> Resampled:
    return resampled_mean(np.array([metrics[name]["per_example"] for metrics in comparison.runs[variant]]))


def repair_estimates(comparison: Comparison) -> Iterator[Estimate]:
    """How ``<bkspc>`` answers each kind of corruption, of the variants that have it."""
    for variant in comparison.variants:
        for kind in comparison.corruptions:
            for side, name in words.BACKSPACE.items():
                if (measured := comparison.probabilities(variant, kind, side)) is not None:
                    yield _within(resampled_mean(measured), _place(comparison, variant), f"{name}[{kind}]")


def older_errors(comparison: Comparison) -> Iterator[Estimate]:
    """What became of errors older than one token, of every variant that was measured."""
    for variant in comparison.variants:
        runs = [metrics.get("older_errors", {}) for metrics in comparison.runs[variant]]
        for decoding, depth in ((name, depth) for name, depths in runs[0].items() for depth in depths):
            where, measured = _place(comparison, variant, decoding), [run[decoding][depth] for run in runs]
            rows = [{row[0]: row for row in one["per_example"]} for one in measured]
            if not (shared := sorted(set.intersection(*map(set, rows)))):
                continue
            for name, column in OLDER_ERRORS.items():
                values = [[of_seed[i][column] for i in shared] for of_seed in rows]
                if values[0][0] is not None:
                    yield _within(resampled_mean(np.array(values, dtype=float)), where, f"{name}[{depth}]")
            pushes = np.array([one["pushes"] for one in measured], dtype=float)
            yield _mean(pushes, where, f"tokens_after_error[{depth}]")


def _by_seed(comparison: Comparison, where: Side, names: Sequence[str]) -> Iterator[Estimate]:
    """Numbers that every seed has one of: mean and spread, without an interval."""
    for name in names:
        if len(values := comparison.statistic(variant_of(where), where.decoding, name)):
            yield _mean(values, where, name)


def _mean(values: np.ndarray, where: Side, quantity: str) -> Estimate:
    return Estimate(float(values.mean()), intervals.spread(values), where=where, quantity=quantity)


def _within(score: Resampled, where: Side, quantity: str) -> Estimate:
    """An estimate with its interval cut to the range of the quantity."""
    found, top = score.estimate(where, quantity), words.describe(quantity).top
    low, high = (value if value is None else max(0.0, min(value, top or value)) for value in (found.low, found.high))
    return replace(found, low=low, high=high)


def _place(comparison: Comparison, variant: Variant, decoding: str = "") -> Side:
    return Side(comparison.first.get("task", ""), variant.method, variant.eta, decoding)


def measure_map(readings: Sequence[Reading], results: Path, seeds: Sequence[int]) -> list[Estimate]:
    """Scores and differences of every reading, the p-values of the differences corrected.

    Read are the metrics.json files of the sides' runs below ``results``. Raises UserError if a run was not sampled in a
    side's decoding, or if seeds or compared sides answered different questions.
    """

    @cache
    def metrics(run: str) -> list[dict]:
        return [read_metrics(results / run / f"seed={seed}/metrics.json") for seed in seeds]

    @cache
    def scored(side: Side) -> tuple[str, int, Resampled, np.ndarray]:
        """The digest of a side's questions and their number, the points, and the means of ``COSTS``."""
        runs = metrics(side.run)
        if not all(side.decoding in run["decodings"] for run in runs):
            raise UserError(f"'{results}/{side.run}' was not decoded by '{side.decoding}': sample it again")
        digest, *others = {run["budget"]["questions_digest"] for run in runs}
        if others:
            raise UserError(f"the seeds of '{results}/{side.run}' answered different questions: sample them again")
        decoded = [run["decodings"][side.decoding] for run in runs]
        costs = np.array([float(np.mean([one[name] for one in decoded])) for name in COSTS])
        return digest, decoded[0]["n"], score_of(decoded, runs[0]["family"], unit=100), costs

    found = []
    for reading in readings:
        own = {role: (side,) for role, side in reading.sides.items()}
        for roles, (side, *others) in (own | reading.comparisons).items():
            digest, n, points, costs = scored(side)
            for other_digest, _, its_points, its_costs in map(scored, others):
                if other_digest != digest:
                    raise UserError(
                        f"in the cell '{reading.at}' of the map's axis '{reading.axis}', "
                        f"{roles.replace(MINUS, ' and ')} answered different questions: compare tasks of the same data"
                    )
                points, costs = points - its_points, costs - its_costs
            means = dict(zip(COSTS, costs.tolist(), strict=True))
            cell = Cell(reading.axis, reading.at, reading.name, reading.column, roles, means)
            found.append(replace(points.estimate(side, "points", *others), n=n, cell=cell))
    return adjusted(found)


def comparisons(effects: Sequence[Estimate]) -> list[Estimate]:
    """Every comparison once."""
    return list({(e.where, e.against): e for e in reversed(effects) if e.against}.values())[::-1]


LEARNED = ("bc", "sm")
DRAWN = (*LEARNED, "dagger")  # the last one only where a table has it
BASELINE = Variant("mle", 0.0)
RATIO = "takeback_ratio="


def results_of(tables: Iterable[Table], main: str) -> dict[str, Table]:
    """The tables with a score of MLE and BC, in points, by the label of their row (``row_of``)."""
    chosen: dict[str, Table] = {}
    for table in tables:
        if table.metric and {"mle", "bc"} <= {variant.method for variant in table.variants}:
            chosen.setdefault(row_of(table, main), table.in_points)
    return chosen


def row_of(table: Table, main: str) -> str:
    """The label of a table's row: its task, and a scale other than ``main``."""
    label = table.task.replace("_", " ")
    named = table.scale == main or table.task.startswith(table.scale)
    return label if named else f"{label} ({table.scale})"


def columns_of(table: Table) -> dict[str, str]:
    """The table's first decoding of each column: the one named like it, or ``perturbed=0.1`` for 'perturbed'."""
    names = [name for name in table.decodings_of(table.metric) if "+" not in name]
    by_kind = estimates.grouped(names, lambda name: name.partition("=")[0])
    return {column: by_kind[column][0] for column in COLUMNS if column in by_kind}


def drawn(table: Table) -> dict[str, Variant]:
    """BC, SM and, where the table has it, DAgger at their highest noise levels, by method."""
    highest = {variant.method: variant for variant in sorted(table.variants, key=lambda variant: variant.eta)}
    return {method: highest[method] for method in DRAWN if method in highest}


def difference(table: Table, method: str, other: str, decoding: str) -> Estimate | None:
    """The paired difference of two methods in the table's score, the first one as ``drawn``."""
    variant = drawn(table).get(method)
    return table.find(variant, decoding, f"{table.metric}{MINUS}{other}") if variant else None


def of_rule(table: Table, decoding: str) -> Estimate | None:
    """What the takeback rule adds to MLE: by a ratio, if there are several rules."""
    name = f"{table.metric}{MINUS}{BASELINE.method}[{decoding}]"
    own = [cell for cell in table.differences() if (cell.variant, cell.name) == (BASELINE, name)]
    own = [cell for cell in own if "takeback" in cell.decoding]  # not looking ahead, nor a beam search
    return min(own, key=lambda cell: RATIO not in cell.decoding, default=None)


PAIRS = (("sm", "bc"), ("bc", "mle"), ("sm", "mle"))


def over_tasks(tables: Iterable[Table]) -> list[Estimate]:
    """Each pair in each column (its ``decoding``), pooled over the tables in points that have it; ``n``: how many.

    Methods are at their highest noise levels. ``intervals.pooled`` has the formula; the p-values are corrected for the
    number of these lines. Tables of one seed, and those of before 2026-12, whose files hold no standard errors, are
    left out; so are lines of fewer than two tables.
    """
    tables, lines = [table for table in tables if table.seeds > 1], []
    for (method, other), column in itertools.product(PAIRS, COLUMNS):
        having = [(t, difference(t, method, other, columns_of(t).get(column, ""))) for t in tables]
        found = [(cell, table.seeds) for table, cell in having if cell and cell.error is not None]
        if len(found) > 1:
            where, against = (Side("", name, 0.0, column) for name in (method, other))
            line = replace(intervals.pooled(*zip(*found, strict=True)), where=where, quantity="points", against=against)
            lines.append(replace(line, n=len(found)))
    return adjusted(lines)


MLE = "mle"
# The row without rollouts that trains on the same data as an SM row, encoded in the same way.
DATA_OF = {"sm_paper": "bc_paper", "sm_tree": "bc", "sm": "bc", "sm_shared": "bc"}
PARTS = ("network", "scores", "objective", "optimiser")
PAPER_METRICS = {
    "step": "gradient_step_seconds",
    "generation": "sampling_seconds",
    "steps_per_sample": "gradient_steps_per_sample",
    "amortised": "amortised_total_seconds",
}


def measure_steps(measured: Measured, task: str) -> list[Estimate]:
    """All costs. The paper's numbers of ``task`` belong to the first case, whose lengths are the paper's."""
    steps_per_sample, costs = measured.facts["steps_per_sample"], []
    for case in measured.cases:
        baseline, floor = measured.series(case, MLE, "step"), measured.series(case, MLE, "tokens")[0]
        for row in measured.rows(case):
            tokens, positions, memory = (
                measured.series(case, row, name)[0] for name in ("tokens", "positions", "peak_memory")
            )
            step, *parts, generation = (measured.series(case, row, name) for name in ("step", *PARTS, "generation"))
            samples = len(generation) > 0
            amortised = step + (np.median(generation) / steps_per_sample if samples else 0)
            series = dict(zip(PARTS, parts, strict=True))
            series |= {"step": step, "step_ratio": step / baseline, "objective_share": series["objective"] / step}
            series |= {"generation": generation} if samples else {}
            series |= {"amortised": amortised, "amortised_ratio": amortised / baseline}
            counted = {"tokens": tokens, "token_floor": tokens / floor, "padding_share": 1 - tokens / positions}
            counted |= {"peak_memory": memory} | ({"steps_per_sample": steps_per_sample} if samples else {})
            where, papers = Side(case, row, 0.0, ""), _of_paper(task, row) if case == measured.cases[0] else {}
            found = [_quartiles(values, where, name) for name, values in series.items()]
            found += [Estimate(float(value), where=where, quantity=name) for name, value in counted.items()]
            costs += [replace(cost, paper=papers.get(cost.quantity)) for cost in found]
    return costs


def _quartiles(values: np.ndarray, where: Side, quantity: str) -> Estimate:
    low, median, high = (float(x) for x in np.quantile(values, (0.25, 0.5, 0.75)))
    return Estimate(median, low=low, high=high, where=where, quantity=quantity)


def _of_paper(task: str, row: str) -> dict[str, Reported]:
    """What the paper reports for a row's method; its ratios are to the gradient step of its MLE."""
    method = row.partition("_")[0]
    found = {name: estimates.find(task, method, 0, metric) for name, metric in PAPER_METRICS.items()}
    papers = {name: number for name, number in found.items() if number}
    mle = estimates.find(task, MLE, 0, PAPER_METRICS["step"])
    if mle and method != MLE:
        ratios = {name: papers[name] for name in ("step", "amortised") if name in papers}
        papers |= {f"{name}_ratio": replace(one, value=one.value / mle.value) for name, one in ratios.items()}
    return papers


def ordered(rows: Sequence[str]) -> list[str]:
    """Rows from the naive way to ours."""
    return sorted(rows, key=list(words.LABELS).index)


def parts_of(costs: Sequence[Estimate], case: str, row: str) -> dict[str, float]:
    """Median seconds of an amortised step by part: data, rollouts, objective, optimiser, sampling.

    ``data`` is what data alone cost, ``rollouts`` what rollouts add. The parts add up to the row's step, apart from
    noise between repeats.
    """
    of = estimates.medians(costs, case)
    data, encoded = (of[name, "network"] + of[name, "scores"] for name in (DATA_OF.get(row, row), row))
    return {
        "data": data,
        "rollouts": encoded - data,
        "objective": of[row, "objective"],
        "optimiser": of[row, "optimiser"],
        "sampling": of[row, "amortised"] - of[row, "step"],
    }


def measure_parts(measured: Measured, baseline: str) -> list[Estimate]:
    """Median and quartiles of every quantity, with its ratio to ``baseline``."""
    costs = []
    for case in measured.cases:
        for row in filter(None, measured.rows(case)):  # a quantity of the case itself has no row
            for quantity in dict.fromkeys(v.quantity for v in measured.values if (v.case, v.row) == (case, row)):
                values, compared = (measured.series(case, name, quantity) for name in (row, baseline))
                ratio = float(np.median(values / compared)) if len(values) == len(compared) and compared.all() else None
                costs.append(replace(_quartiles(values, Side(case, row, 0.0, ""), quantity), ratio=ratio))
    return costs
