"""Whether a run agrees with the kept one: by hand, and through the command."""

import json
import subprocess
import sys
from dataclasses import replace

from support.score_tables import BC, MUL, SM
from support.workflow import ROOT

from sequencematch.config.run_messages import made
from sequencematch.results.agreement import compare_tables
from sequencematch.results.estimates import estimates_csv


def seen(cell, mean=None, p=None):
    """The cell with a spread of 0.01 between seeds and p-values, which decide alone what is significant."""
    p = cell.against and (0.9 if p is None else p)
    return replace(cell, mean=cell.mean if mean is None else mean, sd=0.01, p=p, p_adjusted=p)


def run(changes, seeds=3):
    """MUL with other means and p-values: by (variant, decoding, name)."""
    cells = [seen(cell, *changes.get((cell.variant, cell.decoding, cell.name), ())) for cell in MUL.cells]
    return replace(MUL, cells=cells, seeds=seeds)


def test_the_prediction_interval_is_of_both_runs_seeds():
    """Student's 4.303 x 0.01 x sqrt(1/3 + 1/3) = 0.0351; of ten new seeds sqrt(1/3 + 1/10), 0.0283."""
    kept, n = run({}), len(MUL.cells)
    far, near = {(SM, "greedy", "accuracy"): (0.536,)}, {(SM, "greedy", "accuracy"): (0.534,)}
    first, outside, _ = compare_tables(run(far), kept)
    assert first.startswith(
        f"table: {n - 1} of {n} estimates lie in the 95% prediction interval of the kept run (3 seeds"
    )
    assert outside == "  outside: SM, η = 0.2, greedy, accuracy: 0.536, kept 0.500 (predicted 0.465 to 0.535)"
    assert next(compare_tables(run(near), kept)).startswith(f"table: {n} of {n}")
    assert next(compare_tables(run(near, seeds=10), kept)).startswith(f"table: {n - 1} of {n}")


def test_what_never_differed_predicts_nothing():
    kept = replace(MUL, cells=[replace(cell, sd=0.0) for cell in MUL.cells])
    assert next(compare_tables(run({}), kept)).startswith("table: 0 of 0")


def test_changed_verdicts_are_told_with_their_sizes():
    kept = run({(SM, "sampled", "accuracy_minus_mle"): (-0.15, 0.01)})
    *_, verdicts, changed = compare_tables(run({}), kept)
    assert verdicts == "  1 of 5 verdicts changed."
    assert changed.startswith("  changed: SM vs. MLE, η = 0.2, sampled, accuracy: kept significantly worse (-0.150), ")
    assert changed.endswith("here not significant (-0.150)")
    assert list(compare_tables(MUL, MUL))[-1] == "  0 of 0 verdicts changed."  # tables without p-values


def test_the_command_says_whether_the_runs_are_a_repetition(tmp_path):
    results, kept = tmp_path / "default", tmp_path / "reference/default"
    (results / "tables").mkdir(parents=True)
    kept.mkdir(parents=True)
    (results / "tables/table6.csv").write_text(estimates_csv(run({(BC, "sampled", "accuracy"): (0.9,)})))
    (kept / "table6.csv").write_text(estimates_csv(run({})))
    name = "mul/bc/eta=0.2/seed=1"
    (kept / "provenance.json").write_text(json.dumps({"budgets": {name: {"steps": 880, "data_digest": "d"}}}))
    (results / name).mkdir(parents=True)
    (results / name / "metrics.json").write_text(json.dumps({"budget": {"steps": 440, "data_digest": "d"}}))
    script = ROOT / "workflow/compare_results.py"
    done = subprocess.run([sys.executable, script, results, kept], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("note: the runs of mul are no repetition of the kept ones: they differ in steps.\n")
    assert "  outside: BC, η = 0.2, sampled, accuracy: 0.900" in done.stdout
    (results / "tables/table6.md").touch()
    brief = made(results, 0, 1)  # the last lines of make
    assert "outside:" not in brief and "verdicts changed" in brief and "make compare" in brief
