"""Does SequenceMatch help? Paired differences to MLE on every task, as one forest plot."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sequencematch.results.estimates import Estimate, Place, Table, read_map, read_table
from sequencematch.results.figures import Dot, Panel, dot_of, plot_dots
from sequencematch.results.series import METHODS, RULE
from sequencematch.results.variants import Variant
from sequencematch.results.words import decoding_label, enumerated
from sequencematch.settings.decodings import without_rule

COMPARED = ("bc", "sm")
DRAWN = (*COMPARED, "dagger")  # the last one only where a table has it
BASELINE = Variant("mle", 0.0)
PRETRAINED, MAP, RULED = "pretrained", "map", "MLE with the takeback rule"
RATIO = "takeback_ratio="
AXIS = "difference to MLE, points"
NOTE = "Accuracy in %, or BLEU. Dots: mean; bars: 95% interval; methods with <bkspc> at {etas}; {sizes}."
COLUMNS = ("sampled", "greedy", "perturbed")


@dataclass(frozen=True)
class Results:
    """Tables that compare MLE, BC and SM, by the label of their row.

    pretrained: those of a pretrained model. gains: what the rule adds to MLE, in points, as measured on the map: by
    task and decoding.
    """

    tables: Mapping[str, Table]
    pretrained: Mapping[str, Table] = field(default_factory=dict)
    gains: Mapping[Place, Estimate] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, Table]:
        """All tables by the label of their row, those of a pretrained model last."""
        return {**self.tables, **{f"{row} ({PRETRAINED})": table for row, table in self.pretrained.items()}}


def results_of(tables: Iterable[Table], main: str, methods: Collection[str] = ("mle", *COMPARED), **more) -> Results:
    """The tables with a score of all ``methods``; those of another scale than ``main`` are labelled by theirs."""
    chosen: dict[str, Table] = {}
    for table in tables:
        if table.metric and set(methods) <= {variant.method for variant in table.variants}:
            label = table.task.replace("_", " ")
            chosen.setdefault(label if table.scale == main else f"{label} ({table.scale})", table)
    return Results(chosen, **more)


def kept_results(kept: Path, main: str) -> Results:
    """The results in a folder of kept scales: ``main``, the other scales, a pretrained model's, and the map."""
    results = (folder for folder in kept.iterdir() if folder.is_dir() and not is_of_validation(folder))
    folders = sorted(results, key=lambda folder: (folder.name != main, folder.name))
    tables = {
        folder.name: [read_table(file) for file in sorted(folder.glob("*.csv")) if file.stem != MAP]
        for folder in folders
    }
    of_pretrained = tables.pop(PRETRAINED, [])
    scale = of_pretrained[0].scale if of_pretrained else PRETRAINED
    pretrained = results_of(of_pretrained, scale, ("mle", "sm")).tables
    every = [table for of_scale in tables.values() for table in of_scale]
    return results_of(every, main, pretrained=pretrained, gains=_gains(kept / MAP / "map.csv"))


def is_of_validation(reference: Path) -> bool:
    """Whether a kept scale was measured on validation questions. Such scales are trials, not results."""
    record = reference / "provenance.json"
    return record.is_file() and json.loads(record.read_text())["config"]["evaluation"]["split"] == "validation"


def _gains(path: Path) -> dict[Place, Estimate]:
    """The map's differences between MLE with the rule relative to the likeliest token, and MLE without a rule there.

    If there are several thresholds, the one that the map uses most.
    """
    if not path.is_file():
        return {}
    measured = {}
    for effect in read_map(path):
        where, against = effect.found.where, effect.found.against
        alike = against and where.task == against.task and where.variant == against.variant == BASELINE
        if against and alike and where.decoding != against.decoding == without_rule(where.decoding):
            for threshold in (part for part in where.decoding.split("+") if part.startswith(RATIO)):
                measured[against, threshold, effect.axis] = effect.found
    uses = Counter(threshold for _, threshold, _ in measured)
    ordered = sorted(measured.items(), key=lambda item: uses[item[0][1]])
    return {plain: found for (plain, *_), found in ordered}


# ---- the plot ---------------------------------------------------------------------------------------


def plot_forest(results: Results, path: Path) -> None:
    """The forest plot as a PNG; its caption says what is missing."""
    panels = forest_panels(results)
    plot_dots(panels, "Does SequenceMatch help? Paired differences to MLE", forest_note(results, panels), path)


def forest_panels(results: Results) -> list[Panel]:
    """Sampled, greedy and perturbed; a row for each task, those of a pretrained model last."""
    panels = []
    for column in COLUMNS:
        dots = [dot for row, table in results.rows.items() for dot in _dots(row, table, column, results.gains)]
        decodings = dict.fromkeys(filter(None, (decoding_of(table, column) for table in results.tables.values())))
        if dots:
            panels.append(Panel(" / ".join(map(decoding_label, decodings)), AXIS, dots, 0.0))
    return panels


def decoding_of(table: Table, column: str) -> str | None:
    """The table's first decoding of a column: the one named like it, or ``perturbed=0.1`` for 'perturbed'."""
    names = table.decodings_of(table.metric)
    return next((name for name in names if name == column or (name.startswith(f"{column}=") and "+" not in name)), None)


def _dots(row: str, table: Table, column: str, gains: Mapping[Place, Estimate]) -> list[Dot]:
    decoding = decoding_of(table, column)
    if decoding is None:
        return []
    found = []
    for variant in drawn(table):
        cell = table.find(variant, decoding, f"{table.metric}_minus_mle")
        if cell:
            found.append(dot_of(cell.in_points, row, variant.label, METHODS[variant.method]))
    own = [cell for cell in _of_rule(table) if cell.against and cell.against.decoding == decoding]
    ratio = [cell for cell in own if RATIO in cell.decoding] or own
    if ratio:
        return [*found, dot_of(ratio[0].in_points, row, RULED, METHODS[RULE])]
    gain = (
        gains.get(Place(table.task, BASELINE.method, BASELINE.eta, decoding))
        if row == table.task.replace("_", " ")
        else None
    )
    return [*found, dot_of(gain, row, RULED, METHODS[RULE])] if gain else found


def drawn(table: Table) -> list[Variant]:
    """BC, SM and, where the table has it, DAgger at their highest noise levels."""
    highest = {variant.method: variant for variant in sorted(table.variants, key=lambda variant: variant.eta)}
    return [highest[method] for method in DRAWN if method in highest]


def forest_note(results: Results, panels: Sequence[Panel]) -> str:
    """What the dots and bars are, the sizes, and what is missing."""
    tables = results.rows.values()
    etas = sorted({variant.eta for table in tables for variant in drawn(table)})
    seeds, questions = ({getattr(table, name) for table in tables} for name in ("seeds", "questions"))
    sizes = f"{_range(seeds)} seeds, {_range(questions)} questions"
    note = NOTE.format(etas=f"η = {enumerated([f'{eta:g}' for eta in etas])}", sizes=sizes)
    if from_map := [row for row, table in results.tables.items() if not _of_rule(table) and _ruled(row, panels)]:
        note += f" {RULED}: from the map for {enumerated(from_map)}."
    unruled = [row for row in results.tables if not _ruled(row, panels)]
    missing = [f"{RULED} on {enumerated(unruled)}"] if unruled else []
    missing += [] if results.pretrained else ["a pretrained model"]
    return note + (f" Not measured: {'; '.join(missing)}." if missing else "")


def _of_rule(table: Table) -> list[Estimate]:
    """What a rule adds to MLE, as the table has it."""
    return [c for c in table.differences() if c.against and c.variant == c.against.variant == BASELINE]


def _ruled(row: str, panels: Sequence[Panel]) -> bool:
    return any(dot.row == row and dot.series == RULED for panel in panels for dot in panel.dots)


def _range(values: Iterable[int]) -> str:
    low, high = min(values := sorted(values)), max(values)
    return f"{low}" if low == high else f"{low}-{high}"
