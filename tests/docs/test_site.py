"""The documentation as a site: it builds, its API is filled, and a link that leads nowhere ends the build."""

import shutil
import subprocess
import sys

import pytest
from support.workflow import ROOT

LINKED = ("src", "workflow", "results", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def build(folder, site):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_the_site_builds_with_its_api_and_the_figures_of_its_pages(tmp_path):
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "api/index.html").read_text()
    assert "SequenceMatchTrainer" in api and "Encode rows of K trajectories that share a prompt" in api
    overheads = (tmp_path / "overheads/index.html").read_text()
    assert 'src="../results/reference/default/overheads/table3_growth.png"' in overheads
    assert (tmp_path / "results/reference/default/overheads/table3_growth.png").is_file()
    assert 'href="method/"' in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path):
    for part in LINKED:
        (tmp_path / part).symlink_to(ROOT / part)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs/trainer.md").open("a") as page:
        page.write("\n[nothing](no_such_page.md)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0 and "no_such_page.md" in done.stderr
