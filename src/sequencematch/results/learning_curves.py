"""Learning curves of the runs of a task: the columns of their metrics.csv over gradient steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sequencematch.errors import UserError
from sequencematch.results.runs import Run, read_training
from sequencematch.results.theme import OLIVE, drawing, key, legend
from sequencematch.results.variants import Variant, colours_of, dashes_of

# Columns of metrics.csv worth a panel, each with its heading; what no run has is left out.
BASE = "base"
PANELS = {
    BASE: "base model: loss",
    "loss": "loss (each method's own)",
    "validation_loss": "validation loss",
    "sm_loss": "SequenceMatch loss",
    "r_data": "r on data",
    "r_rollout": "r on rollouts",
    "v_tail": "V of the last state",
    "pop_rate": "backspaces per rollout action",
    "gradient_norm": "gradient norm",
}


@dataclass(frozen=True)
class Curve:
    """One training run: what it was (None: the base model), and its metrics by panel, each as (steps, values)."""

    variant: Variant | None
    columns: dict[str, tuple[np.ndarray, np.ndarray]]


def curve_of(run: Run) -> Curve:
    """The curves of a scored run."""
    return Curve(run.variant, {name: column for name in PANELS if (column := _column(run.model, name))})


def base_curve(model: Path) -> Curve:
    """The loss of a base model, in a panel of its own."""
    loss = _column(model, "loss")
    return Curve(None, {BASE: loss} if loss else {})


def _column(model: Path, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        some = [(int(row["step"]), float(row[name])) for row in read_training(model) if row.get(name)]
    except (ValueError, KeyError) as error:
        raise UserError(f"the metrics.csv in '{model}' is damaged ({error}): train it again") from error
    return (np.array([step for step, _ in some]), np.array([value for _, value in some])) if some else None


def plot_learning_curves(curves: Sequence[Curve], path: Path) -> None:
    """A panel per quantity: the mean over seeds of each variant, and the range of its seeds."""
    names = [name for name in PANELS if any(name in curve.columns for curve in curves)]
    if not names:
        raise UserError("no run has a metric to draw: train for at least one step")
    variants = sorted({c.variant for c in curves if c.variant}, key=lambda variant: variant.place)
    lines = _lines(variants)
    columns = min(3, len(names))
    with drawing(path, columns, -(-len(names) // columns), 3.1, 2.0) as (figure, grid):
        for panel, name in zip(grid.flat, names, strict=False):
            panel.set_title(PANELS[name])
            for variant in (None, *variants):
                runs = [c.columns[name] for c in curves if c.variant == variant and name in c.columns]
                if runs:
                    _draw(panel, runs, lines[variant] if variant else {"color": OLIVE, "linestyle": "solid"})
        for panel in grid.flat[len(names) :]:
            panel.set_axis_off()
        for panel in grid.flat[max(0, len(names) - columns) : len(names)]:
            panel.set_xlabel("gradient steps")
        legend(figure, [_key(variant.name, **line) for variant, line in lines.items()])


def _lines(variants: Sequence[Variant]) -> dict[Variant, dict]:
    """A method's colour; solid at its highest noise level, dashed below."""
    colours, dashes = colours_of({variant.method for variant in variants}), dashes_of(variants)
    return {variant: {"color": colours[variant.method], "linestyle": dashes[variant]} for variant in variants}


def _key(label: str, color: str, linestyle: str):
    return key(label, color, marker="", linestyle=linestyle)


def _draw(panel, runs: Sequence[tuple[np.ndarray, np.ndarray]], line: dict) -> None:
    """Seeds log at the same steps; where one has more rows, the shared ones are drawn."""
    steps = runs[0][0]
    for other, _ in runs[1:]:
        steps = np.intersect1d(steps, other)
    values = np.stack([v[np.isin(s, steps)] for s, v in runs])
    marker = {"marker": "o", "markersize": 3} if len(steps) < 3 else {}
    panel.plot(steps, values.mean(0), linewidth=1.3, **line, **marker)
    panel.fill_between(steps, values.min(0), values.max(0), color=line["color"], alpha=0.15, linewidth=0)
