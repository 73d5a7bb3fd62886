"""What make accepts as SCALE: it names a folder that is written, and deleted by clean-results."""

import shutil
import subprocess

import pytest
from support.workflow import ROOT

FOREIGN = ["", ".", "..", "/", "*", "%", "~", "reference", "../../x", "smoke/../reference", "smoke/.", "smok"]
FOREIGN += ["smoke reference", "default smoke", "all", "logs", "./smoke"]


@pytest.fixture
def tree(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(ROOT / "workflow/scales", project / "workflow/scales")
    for part in ("Makefile", "Snakefile"):
        shutil.copy(ROOT / part, project / part)
    for folder in ("project/results/reference", "project/results/default", "project/results/smoke", "x", "project/x"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "kept").touch()
    return project


def make(tree, *words, **environment):
    return subprocess.run(["make", *words], cwd=tree, capture_output=True, text=True, env=environment or None)


def there(tree):
    return sorted(str(file.relative_to(tree.parent)) for file in tree.parent.rglob("kept"))


@pytest.mark.parametrize("scale", FOREIGN)
def test_results_of_no_scale_are_never_deleted(tree, scale):
    before = there(tree)
    for done in (make(tree, "clean-results", f"SCALE={scale}"), make(tree, f"SCALE={scale}")):
        assert done.returncode == 2 and f"SCALE is '{scale}', but must be one of default gpu" in done.stderr
        assert done.stdout == "" and done.stderr.count("\n") == 1
    assert there(tree) == before


def test_a_scale_in_the_environment_is_held_to_the_same(tree):
    before = there(tree)
    assert make(tree, "clean-results", SCALE="../../x", PATH="/usr/bin:/bin").returncode == 2
    assert there(tree) == before


def test_a_scale_named_like_the_kept_reference_is_none(tree):
    (tree / "workflow/scales/reference.yaml").write_text("scale: reference\n")
    assert make(tree, "clean-results", "SCALE=reference").returncode == 2
    assert "project/results/reference/kept" in there(tree)


@pytest.mark.parametrize("scale", ["default", "smoke"])
def test_results_of_a_scale_are_deleted_and_no_others(tree, scale):
    before = there(tree)
    assert make(tree, "clean-results", f"SCALE={scale}").returncode == 0
    assert set(before) - set(there(tree)) == {f"project/results/{scale}/kept"}


def test_make_runs_in_the_projects_folder_alone(tree, tmp_path):
    (tmp_path / "results/default").mkdir(parents=True)
    (tmp_path / "results/default/kept").touch()
    done = make(tmp_path, "-f", "project/Makefile", "clean-results")
    assert done.returncode == 2 and "run make in the project's folder, where the Snakefile is" in done.stderr
    assert (tmp_path / "results/default/kept").exists()
