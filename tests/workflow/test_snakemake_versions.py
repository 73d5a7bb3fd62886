"""The oldest Snakemake that pyproject.toml allows, and the newest: what we take from inside it is there."""

import os
import re
import subprocess
import sys

import pytest
from support.workflow import ROOT, copy_tree

OLDEST = re.search(r'"snakemake>=([\d.]+)', (ROOT / "pyproject.toml").read_text())[1]
LAST = """
onsuccess:
    print("GPUS", snakemake_internals.allowed_gpus(workflow), "LIMITER", workflow.scheduler.job_rate_limiter)
"""


@pytest.mark.long
@pytest.mark.parametrize("version", [f"=={OLDEST}", "<10"])
def test_a_version_of_snakemake_runs_and_explains_the_plan(version, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--target",
        tmp_path / "packages",
        f"snakemake{version}",
    ]
    subprocess.run(command, check=True)
    (tmp_path / "tree").mkdir()
    tree, environment = copy_tree(tmp_path / "tree"), os.environ | {"PYTHONPATH": str(tmp_path / "packages")}
    with (tree / "Snakefile").open("a") as file:
        file.write(LAST)

    def run(*words):
        words = [sys.executable, *words, "table6", "--cores", "2", "--config", "scale=smoke", "seeds=[1]"]
        done = subprocess.run(words, cwd=tree, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "never run" in run("workflow/launcher/why.py")
    assert "GPUS 1 LIMITER None" in run("workflow/launcher/run.py")
    assert "Nothing would run." in run("workflow/launcher/why.py")
    assert re.search(r"smoke: (\d+) of \1 jobs done; no run is going on", run("workflow/launcher/status.py"))
