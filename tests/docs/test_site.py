"""The documentation as a site: it builds, and its API is filled."""

import subprocess
import sys

import pytest
from support.workflow import ROOT


@pytest.mark.slow
def test_the_site_builds_with_its_api_and_the_figures_of_its_pages(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "api/index.html").read_text()
    assert "SequenceMatchTrainer" in api and "Encode rows of K trajectories that share a prompt" in api
    overheads = (tmp_path / "overheads/index.html").read_text()
    assert 'src="../results/reference/default/overheads/table3_growth.png"' in overheads
    assert (tmp_path / "results/reference/default/overheads/table3_growth.png").is_file()
    assert 'href="method/"' in (tmp_path / "index.html").read_text()
