"""The rules that are tried on models without <bkspc>, on tokens written by hand; and the script on a finished run."""

import json
import subprocess
import sys

import pytest
from support.workflow import ROOT, load_script


@pytest.fixture(scope="module")
def rules():
    return load_script("workflow/try_rules.py").RULES


# (token, its probability, that of the likeliest token, entropy)
LIKELY, UNLIKELY, UNCERTAIN = (1, 0.9, 0.9, 0.2), (2, 0.02, 0.9, 0.2), (3, 0.2, 0.25, 1.7)


@pytest.mark.parametrize(
    ("live", "deleting"),
    [
        ([LIKELY], set()),
        ([UNLIKELY], {"ratio", "probability", "margin"}),
        ([UNCERTAIN], {"probability", "entropy"}),
        ([LIKELY, UNLIKELY], {"ratio", "probability", "margin", "drop"}),
        ([LIKELY, UNCERTAIN], {"probability", "entropy", "drop"}),
        ([LIKELY, LIKELY], {"repetition"}),
        ([LIKELY, UNLIKELY, LIKELY, UNLIKELY], {"ratio", "probability", "margin", "drop", "overlap"}),
    ],
)
def test_which_rules_delete(rules, live, deleting):
    found = {name.split()[0] for name, rule in rules.items() if rule(live)}
    assert found == deleting


def test_several_tokens_at_once(rules):
    assert [
        rules[name]([LIKELY, UNLIKELY]) for name in ("ratio 0.3", "ratio 0.3, 2 deleted", "ratio 0.3, 3 deleted")
    ] == [
        1,
        2,
        3,
    ]


@pytest.mark.slow
def test_the_script_on_a_finished_run(smoke, tmp_path):
    command = [sys.executable, "workflow/try_rules.py", "--results", str(smoke / "results/smoke"), "--task", "mul"]
    command += ["--examples", "4", "--output", str(tmp_path / "rules")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "rules/measured.json").read_text())
    assert measured.keys() >= {"none", "ratio 0.3"} and all(len(scores["plain"]) == 2 for scores in measured.values())
    wrong = [*command[:3], str(tmp_path), *command[4:]]
    done = subprocess.run(wrong, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "holds no models of the method mle" in done.stderr and done.stderr.count("\n") == 1
