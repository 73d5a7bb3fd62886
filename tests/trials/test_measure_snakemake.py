"""Snakemake's own processor time is told apart from that of its jobs."""

import subprocess
import sys

import pytest
from support.workflow import ROOT, copy_tree

WORK = """
import sys, time
if "train_tokenizer" in sys.argv[0]:
    while time.process_time() < 4: pass
    time.sleep(1)
"""


@pytest.mark.slow
def test_snakemake_and_its_jobs_are_counted_apart(tmp_path):
    tree = copy_tree(tmp_path)
    script = tree / "src/train_tokenizer.py"
    script.write_text(WORK + script.read_text())
    words = ["results/smoke/mul/tokenizer", "--cores", "1", "--config", "scale=smoke"]
    command = [sys.executable, ROOT / "trials/measure_snakemake.py", *words]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()[-1].split()
    own, jobs, busy = float(words[3]), int(words[6]), float(words[8].rstrip(","))
    assert 0.3 < own and jobs == 2 and busy >= 3
    again = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert "0 jobs 0;" in again.stdout.splitlines()[-1]  # of an earlier run, nothing is counted
