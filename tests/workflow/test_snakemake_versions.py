"""The oldest Snakemake that pyproject.toml allows, and the newest: what we take from inside it is there."""

import re
import subprocess
import sys

import pytest
from support.workflow import ROOT, copy_tree, launch

OLDEST = re.search(r'"snakemake>=([\d.]+)', (ROOT / "pyproject.toml").read_text())[1]
LAST = """
onsuccess:
    print("GPUS", snakemake_internals.allowed_gpus(workflow), "LIMITER", workflow.scheduler.job_rate_limiter)
"""


@pytest.mark.long
@pytest.mark.parametrize("version", [f"=={OLDEST}", "<10"])
def test_a_version_of_snakemake_runs_and_explains_the_plan(version, tmp_path):
    packages = str(tmp_path / "packages")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, f"snakemake{version}"]
    subprocess.run(command, check=True)
    (tmp_path / "tree").mkdir()
    tree = copy_tree(tmp_path / "tree")
    with (tree / "Snakefile").open("a") as file:
        file.write(LAST)

    def said(script):
        config = ["scale=smoke", "seeds=[1]"]
        return launch(tree, "table6", "--cores", "2", script=script, config=config, PYTHONPATH=packages).stdout

    assert "never run" in said("why")
    assert "GPUS 1 LIMITER None" in said("run")
    assert "Nothing would run." in said("why")
    assert re.search(r"smoke: (\d+) of \1 jobs done; no run is going on", said("status"))
