"""Errors older than one token, from the runs' numbers to cells, the page's section and the report's figure."""

import pytest

from sequencematch.results.estimates import Table
from sequencematch.results.figures import older_error_panels
from sequencematch.results.measure import older_errors
from sequencematch.results.pages import older_error_grids
from sequencematch.results.runs import Comparison
from sequencematch.results.variants import Variant

BC, MLE = Variant("bc", 0.2), Variant("mle", 0.0)


def run(rows, pushes=3.0):
    """Metrics of a seed: at depth 0 all questions, at depth 2 those that are given."""
    return {"0": {"per_example": rows, "pushes": pushes}, "2": {"per_example": rows[1:], "pushes": pushes + 1}}


@pytest.fixture
def comparison():
    bc = [[[0, 1, 1], [1, 1, 0], [2, 0, 0]], [[0, 1, 0], [1, 0, 0], [2, 0, 0], [5, 1, 1]]]
    of_bc = [{"older_errors": {"greedy": run(rows)}} for rows in bc]
    text = [[[0, 1, None], [1, 0, None], [2, 0, None]]] * 2
    of_mle = [{"older_errors": {"greedy+takeback_ratio=0.3": run(rows)}} for rows in text]
    return Comparison([1, 2], {BC: of_bc, MLE: of_mle})


def test_cells_are_means_over_seeds_and_the_questions_that_all_of_them_measured(comparison):
    cells = {(c.variant, c.decoding, c.quantity): c for c in older_errors(comparison)}
    assert cells[BC, "greedy", "taken_back[0]"].mean == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert cells[BC, "greedy", "taken_back[2]"].mean == pytest.approx((1 / 2 + 0) / 2)
    assert cells[BC, "greedy", "right_after_error[0]"].mean == pytest.approx((1 / 3 + 0) / 2)
    assert cells[BC, "greedy", "tokens_after_error[2]"].mean == 4
    assert all(0 <= c.low <= c.mean <= c.high <= 1 for c in cells.values() if c.low is not None)
    assert (MLE, "greedy+takeback_ratio=0.3", "right_after_error[0]") not in cells  # there is no right answer


def test_page_and_figure_show_depths_in_their_order(comparison):
    table = Table("table6", "smoke", "mul", 2, 4, list(older_errors(comparison)))
    grids = list(older_error_grids(table).values())
    assert [len(grid.rows) for grid in grids] == [2, 1, 2]  # text has no right answers
    assert grids[0].header[2:] == ["0", "95% interval", "2", "95% interval"]
    panels = older_error_panels(table)
    assert [list(dict.fromkeys(dot.row for dot in panel.dots)) for panel in panels] == [
        ["at once", "2 tokens later"]
    ] * 2
    assert older_error_grids(Table("table6", "smoke", "mul", 2, 4, [])) == {}
