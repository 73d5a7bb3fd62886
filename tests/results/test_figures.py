"""Every kind of figure: nothing is cut off or covered, widths that a page can show, and one colour per method."""

from dataclasses import replace

import numpy as np
import pytest
from support.score_tables import estimate

from sequencematch.results import measure
from sequencematch.results.deletions import Removal
from sequencematch.results.estimates import REFERENCE, Cell, Estimate, Table, Variant
from sequencematch.results.figures import (
    Dot,
    Panel,
    plot_axis,
    plot_cost,
    plot_dots,
    plot_forest,
    plot_growth,
    plot_parts,
    plot_summary,
    plot_table,
    score_panels,
    table_note,
    text_panels,
)
from sequencematch.results.measure import results_of
from sequencematch.results.measured import Measured, Value
from sequencematch.results.run_figures import (
    Curve,
    plot_backspaces,
    plot_dead_end,
    plot_learning_curves,
    plot_masks,
    plot_motivating_example,
    plot_typed,
)
from sequencematch.results.theme import DPI, RULE, colours_of, looks_of
from sequencematch.results.words import LABELS
from sequencematch.settings.map import Map, Side, readings_of

LONG = "Table 99: a title that goes on and on, as titles do (generated phrases; the paper has opus_books)" * 2
VARIANTS = [
    Variant("mle", 0),
    *(Variant(m, eta) for m in ("bc", "sm", "sm_a_long_variant_name") for eta in (0.02, 0.2)),
]
DECODINGS = ("sampled", "greedy+bkspc_bias=-2+surprise=4+takeback_ratio=0.3", "perturbed_model=0.1", "top_p=0.95")


def a_table(task="mul", metric="accuracy") -> Table:
    cells = []
    for i, variant in enumerate(VARIANTS):
        for j, decoding in enumerate((*DECODINGS, "bkspc_bias=-1", "bkspc_masked")):
            mean = 0.3 + 0.05 * i + 0.03 * j
            cells.append(estimate(variant, decoding, metric, mean, 0.01, mean - 0.1, mean + 0.1))
            if variant.eta:
                cells.append(estimate(variant, decoding, metric, mean - 0.5, 0.01, mean - 0.7, mean, ("mle", decoding)))
            cells.append(estimate(variant, decoding, "perplexity", 20 + 7 * i + j, 0.3))
            cells.append(estimate(variant, decoding, "pops_per_sequence", 0.1 * j, 0.3))
    cells.append(estimate(REFERENCE, "", "perplexity", 21.0, 0.3))
    return Table("table6", cells, "default", task, 3, 400)


def a_map() -> tuple[Map, list[Estimate]]:
    cells = [
        {"at": "default cell"},
        {"at": "a cell with a rather long name, and a comma", "decoding": {"mle": "takeback=0.3"}},
    ]
    cells += [{"at": f"best of {n}", "decoding": {"mle": f"best_of={n}"}} for n in (2, 3, 4, 5)]
    axis = {"title": "an axis whose title is long, too, so that it cannot stand in one line", "cells": cells}
    described = Map.model_validate(
        {
            "title": LONG,
            "task": "mul",
            "eta": 0.2,
            "methods": {"mle": "mle", "bc": "bc", "sm": "sm"},
            "readings": ["sampled", "greedy", "perturbed=0.1"],
            "axes": {"an_axis": axis},
        }
    )
    found = []
    for k, reading in enumerate(readings_of(described, ["mle"])):
        for i, quantity in enumerate((*reading.sides, *reading.comparisons)):
            p = None if quantity in reading.sides else 0.01
            costs = {
                "pushes_per_sequence": 5.0 + i + (30 if k > 14 else 0),
                "pops_per_sequence": 0.0,
                "cut_off_share": 0.0,
            }
            sides = reading.comparisons.get(quantity) or (reading.sides[quantity],)
            cell = Cell(reading.axis, reading.at, reading.name, reading.column, quantity, costs)
            one = Estimate(5.0 * i + k, 1.0, -3.0, 9.0 * i, sides[0], "points", *sides[1:], p=p, p_adjusted=p)
            found.append(replace(one, cell=cell))
    return described, found


def costs() -> list[Estimate]:
    numbers = {"network": 0.3, "scores": 0.05, "objective": 1e-5, "optimiser": 0.02, "step": 0.4, "amortised": 0.9}
    numbers |= {"token_floor": 2.0, "amortised_ratio": 123.45}
    rows = ("mle", "bc", "bc_paper", "sm_paper", "sm_tree", "sm", "sm_shared")
    return [
        Estimate(value, where=Side(case, row, 0.0, ""), quantity=name)
        for case in ("256 + 768 tokens, batch 64", "256 + 256 tokens, batch 64")
        for row in rows
        for name, value in numbers.items()
    ]


def measured() -> Measured:
    values = []
    for case, context, batch in (("a", 256, 1), ("b", 1024, 1), ("c", 256, 64)):
        values += [Value(case, "", "context", None, context), Value(case, "", "batch", None, batch)]
        for row in ("mle", "sm_paper", "sm", "sm_shared"):
            values += [Value(case, row, "step", 0, 0.1 * context), Value(case, row, "tokens", 0, context)]
    return Measured(values, {})


def traced() -> dict:
    tokens = [f"token {i}" for i in range(20)]
    form = {"token": tokens, "mask": np.tril(np.ones((20, 20), dtype=int)).tolist(), "position": list(range(20))}
    return {"state_tree": form, "algorithm_2": form, "prompt": tokens[:4]}


def curves() -> list[Curve]:
    steps = np.arange(1, 40)
    return [
        Curve(v, dict.fromkeys(("loss", "r_data", "v_tail", "pop_rate"), np.array([steps, 1e6 / steps])))
        for v in VARIANTS
    ]


KINDS = {
    "scores": lambda path: plot_table(a_table(), LONG, path),
    "texts": lambda path: plot_table(a_table(metric="mauve"), LONG, path),
    "forest": lambda path: plot_forest(
        results_of([a_table(), a_table("a_task_with_a_rather_long_name")], "default"), [], path
    ),
    "axis": lambda path: plot_axis(a_map()[0], "an_axis", a_map()[1], 3, path),
    "summary": lambda path: plot_summary(*a_map(), 3, path),
    "cost": lambda path: plot_cost(*a_map(), path),
    "parts": lambda path: plot_parts(costs(), LONG, path),
    "growth": lambda path: plot_growth(measured(), LONG, path),
    "motivating example": plot_motivating_example,
    "learning curves": lambda path: plot_learning_curves(curves(), path),
    "backspaces": lambda path: plot_backspaces(
        {v: (9, [Removal(k, True) for k in range(30)]) for v in VARIANTS}, path, known=True
    ),
    "masks": lambda path: plot_masks(traced(), path),
    "typed": lambda path: plot_typed(LONG, [*"-468", "<bkspc>", "<bkspc>", *"5 m", "<eos>"], LONG, path),
    "dead end": lambda path: plot_dead_end(
        "5:52|43|51|2G|3X|14|79|98|8G=", [*"143", *["<bkspc>"] * 3, "2", "<eos>"], LONG, path
    ),
    "one panel": lambda path: plot_dots(
        [Panel("p", "x", [Dot("a", "A", Estimate(1, low=0, high=2), "#0072b2")])], LONG, LONG, path
    ),
}


@pytest.fixture
def saved(monkeypatch):
    """The figures that are saved, laid out: their size, what is drawn, and the boxes of title, legends and panels."""
    from matplotlib.figure import Figure

    found, save = [], Figure.savefig

    def look(figure, *args, **options):
        save(figure, *args, **options)
        figure.set_dpi(100)
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        outside = [*figure.legends, *([figure._suptitle] if figure._suptitle else [])]
        boxes = [artist.get_window_extent(renderer) for artist in outside]
        panels = [place.get_tightbbox(renderer) for place in figure.axes if place.axison]
        found.append((figure.get_size_inches(), figure.get_tightbbox(renderer), boxes, panels))

    monkeypatch.setattr(Figure, "savefig", look)
    return found


OF_THE_REPORT = ("learning curves", "backspaces", "masks", "one panel")


@pytest.mark.parametrize(
    ("kind", "suffix"), [*((kind, "png") for kind in KINDS), *((kind, "svg") for kind in OF_THE_REPORT)]
)
def test_nothing_is_cut_off_or_covered(kind, suffix, saved, tmp_path):
    KINDS[kind](tmp_path / f"figure.{suffix}")
    ((size, drawn, boxes, panels),) = saved
    assert suffix == "svg" or 900 <= size[0] * DPI <= 1260
    assert min(drawn.x0, drawn.y0) > -0.02 and drawn.x1 < size[0] + 0.02 and drawn.y1 < size[1] + 0.02
    assert panels and not [1 for box in boxes for panel in panels if box.overlaps(panel)]
    assert not [1 for i, box in enumerate(boxes) for other in boxes[i + 1 :] if box.overlaps(other)]
    for i, panel in enumerate(panels):
        assert not [1 for other in panels[i + 1 :] if panel.shrunk(0.98, 0.98).overlaps(other.shrunk(0.98, 0.98))]


def test_a_method_has_one_colour_everywhere():
    few, many = colours_of(["mle", "sm"]), colours_of(["mle", "bc", "sm", "sm_js", "uls"])
    assert all(few[method] == many[method] for method in few)
    assert len({many[method] for method in ("mle", "uls", "bc", "sm", "dagger", "sm_js", RULE)}) == 7
    lower, higher = Variant("sm", 0.02), Variant("sm", 0.2)
    assert looks_of([lower, higher]) == {lower: (few["sm"], 1), higher: (few["sm"], 0)}
    assert set(LABELS) >= {"mle", "bc", "sm"}


def test_hollow_dots_are_explained_where_there_are_some():
    table = a_table()
    levels = [cell for cell in table.cells if cell.variant.eta in (0, max(v.eta for v in table.variants))]
    assert "hollow" in table_note(table) and "hollow" not in table_note(replace(table, cells=levels))


def test_rows_are_decodings_where_these_are_as_many_as_methods_and_methods_otherwise():
    table = a_table()
    of_decodings, three = score_panels(table), VARIANTS[:3]
    assert len(VARIANTS) > len(of_decodings) == 6
    assert all([dot.row for dot in panel.dots] == [v.name for v in VARIANTS] for panel in of_decodings)
    few = [cell for cell in table.cells if cell.variant in three]
    (panel,) = score_panels(replace(table, cells=few))
    assert len({dot.row for dot in panel.dots}) == 6
    assert [dot.series for dot in panel.dots[:3]] == [v.name for v in three]


def test_looking_ahead_is_no_takeback_rule():
    ahead, ruled = (
        estimate(measure.BASELINE, f"greedy+{rule}", "accuracy", 0.1, 0.01, 0.0, 0.2, ("mle", "greedy"))
        for rule in ("lookahead=0.75", "takeback=0.3")
    )
    table = Table("table6", [ahead], "default", "mul", 3, 400)
    assert measure.of_rule(table, "greedy") is None
    assert measure.of_rule(replace(table, cells=[ahead, ruled]), "greedy") is ruled


def test_real_text_is_a_line():
    """Its perplexity belongs to no decoding."""
    mauve, perplexity = text_panels(a_table(metric="mauve"))
    assert (mauve.title, perplexity.title) == ("MAUVE", "Perplexity") and perplexity.baseline == 21
    assert len(perplexity.dots) == len(VARIANTS) * 6 and perplexity.dots[0].row == "sampled"
