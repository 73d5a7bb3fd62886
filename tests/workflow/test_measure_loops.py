"""How often greedy decoding loops: a policy made to loop does, one without deletions does not, on a finished run."""

import json
import subprocess
import sys

import pytest
from support.workflow import ROOT, load_script


@pytest.fixture(scope="module")
def loops():
    return load_script("workflow/measure_loops.py")


@pytest.mark.slow
def test_a_policy_that_deletes_whenever_it_can_loops(loops, smoke):
    task = smoke / "results/smoke/mul"
    found = loops.measure(
        task, task / "sm/eta=0.2/seed=1/model", ["greedy", "greedy+bkspc_bias=1000", "greedy+bkspc_masked"], 6, 12
    )
    looping = found["greedy+bkspc_bias=1000"]  # an answer that begins with <eos> ends at once
    assert looping["loops"] > 0.3 and looping["deletions"] == 6 * looping["loops"]
    assert found["greedy+bkspc_masked"]["loops"] == found["greedy+bkspc_masked"]["deletions"] == 0


@pytest.mark.slow
def test_the_script_on_a_finished_run(smoke, tmp_path):
    task = smoke / "results/smoke/mul"
    command = [sys.executable, "workflow/measure_loops.py", str(task), "--questions", "4", "--decodings", "greedy"]
    command += ["--models", "sm/eta=0.2/seed=1", "--output", str(tmp_path / "loops")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "loops/measured.json").read_text())
    assert measured["sm/eta=0.2/seed=1"].keys() == {"greedy"}
    assert done.stdout == (tmp_path / "loops/table.md").read_text() + "\n"
