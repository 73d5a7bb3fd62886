"""The commit on record is the project's own, or none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.workflow import ROOT

GIT = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org"]
ASK = "import json; from sequencematch.store.provenance import describe; print(json.dumps(describe()))"


def git(folder: Path, *words: str) -> str:
    return subprocess.run([*GIT, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def committed(folder: Path) -> str:
    """A repository with all that is in the folder; its commit."""
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all", "--allow-empty")
    return git(folder, "rev-parse", "HEAD")


def described(project: Path, **environment: str) -> dict:
    environment = os.environ | {"PYTHONPATH": str(project / "src")} | environment
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path):
    """A copy of the project inside another repository, as it stands there, and that one's commit."""
    copy = tmp_path / "theirs" / "copy"
    for part in ("", "store"):
        for file in (ROOT / "src/sequencematch" / part).glob("*.py"):
            target = copy / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    return copy


def test_the_commit_on_record_is_the_projects_own_and_not_that_of_a_repository_around_it(project):
    committed(project.parent)
    (project / "src/more.py").touch()
    facts = described(project)
    assert (facts["commit"], facts["uncommitted_changes"]) == ("unknown", False)
    ours = committed(project)
    facts = described(project)
    assert (facts["commit"], facts["uncommitted_changes"]) == (ours, False)
    (project / "src/most.py").touch()
    assert described(project)["uncommitted_changes"]


def test_a_repository_that_the_environment_names_is_not_asked(project, tmp_path):
    ours = committed(project)
    (tmp_path / "other").mkdir()
    other = committed(tmp_path / "other")
    found = described(project, GIT_DIR=str(tmp_path / "other/.git"), GIT_WORK_TREE=str(tmp_path / "other"))
    assert found["commit"] == ours != other
