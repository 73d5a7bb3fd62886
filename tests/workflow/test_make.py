"""What make accepts as its variables: they name folders that are written and deleted, and they reach shells."""

import shutil
import subprocess
import sys

import pytest
from support.workflow import ROOT

FOREIGN = ["", ".", "..", "/", "*", "%", "~", "reference", "../../x", "smoke/../reference", "smoke/.", "smok"]
FOREIGN += ["smoke reference", "default smoke", "all", "logs", "./smoke"]


@pytest.fixture
def tree(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(ROOT / "workflow", project / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("Makefile", "Snakefile"):
        shutil.copy(ROOT / part, project / part)
    for folder in ("reference", "default", "smoke", "try1"):
        (project / "results" / folder / "logs").mkdir(parents=True)
    for folder in (*(project / "results").iterdir(), project / "results/mine", project / "x", tmp_path / "x"):
        folder.mkdir(exist_ok=True)
        (folder / "kept").touch()
    return project


def make(tree, *words, **environment):
    return subprocess.run(["make", *words], cwd=tree, capture_output=True, text=True, env=environment or None)


def there(tree):
    return sorted(str(file.relative_to(tree.parent)) for file in tree.parent.rglob("kept"))


@pytest.mark.parametrize("scale", FOREIGN)
def test_results_of_no_scale_are_never_deleted(tree, scale):
    before = there(tree)
    for done in (make(tree, "clean-results", f"SCALE={scale}"), make(tree, f"SCALE={scale}")):
        assert done.returncode == 2 and f"SCALE is '{scale}', but must be one of default " in done.stderr
        assert done.stdout == "" and done.stderr.count("\n") == 1
    assert there(tree) == before


def test_a_scale_of_the_environment_or_of_a_file_is_held_to_the_same(tree):
    (tree / "workflow/scales/reference.yaml").write_text("scale: reference\n")
    before = there(tree)
    assert make(tree, "clean-results", SCALE="../../x", PATH="/usr/bin:/bin").returncode == 2
    assert make(tree, "clean-results", "SCALE=reference").returncode == 2
    assert there(tree) == before


@pytest.mark.parametrize("word", ["SCALE=default", "SCALE=smoke", "NAME=try1"])
def test_results_of_a_scale_or_a_name_are_deleted_and_no_others(tree, word):
    before, name = there(tree), word.partition("=")[2]
    assert make(tree, "clean-results", word).stdout == f"removed results/{name}\n"
    assert set(before) - set(there(tree)) == {f"project/results/{name}/kept"}


@pytest.mark.parametrize(
    "name", ["reference", "mine", "link", "../x", "it's mine", "x; rm -rf results", "$(shell rm x/kept)"]
)
def test_what_no_run_made_is_never_deleted(name, tree):
    (tree / "results/link").symlink_to(tree / "results/smoke")
    before = there(tree)
    done = make(tree, "clean-results", f"NAME={name}")
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) <= 2
    assert there(tree) == before


SHELL = ["x; touch made", "x & touch made", "`touch made`", "$(touch made)", "$(shell touch made)", "x\ntouch made"]
SHELL += ["'x' > made", '"`touch made`"', "'x\ntouch made'", "'"]
# Checks what is given, and sets nothing up.
STUB = f'#!/bin/sh\ncase $1 in workflow/*) exec {sys.executable} "$@";; *) touch set_up; exit 1; esac\n'


def made(tree, *words):
    """What a run without a set-up would do first: nothing, if what was given is wrong; otherwise, set up."""
    (tree / "python").write_text(STUB)
    (tree / "python").chmod(0o755)
    for file in ("pyproject.toml", "requirements.lock"):
        (tree / file).touch()
    done = make(tree, "table6", *words, "PYTHON=./python")
    assert done.returncode == 2 and not (tree / "made").exists()
    return done.stderr, (tree / "set_up").exists()


@pytest.mark.parametrize("name", ["NAME", "TARGET", "PROFILE", "GPUS", "SCALE", "CONFIG", "ARGS"])
def test_no_variable_reaches_a_shell_as_more_than_words(name, tree):
    for words in SHELL:
        said, set_up = made(tree, f"{name}=seeds={words}" if name == "CONFIG" else f"{name}={words}")
        assert name in said and not set_up, said
    right = ["CONFIG=seeds=[1,2] 'objective={alpha: 0.1, beta: \"x;y\"}'", "ARGS=--dry-run", "NAME=try1", "GPUS=2"]
    assert made(tree, *right)[1]


def test_neither_python_nor_a_target_reaches_a_shell_as_more_than_a_word(tree):
    for words in (['PYTHON=x"; touch made; "'], ['x"; touch made; "'], ["x'; touch made; '"]):
        assert make(tree, *words).returncode == 2
        assert not (tree / "made").exists()


def test_make_runs_in_the_projects_folder_alone(tree, tmp_path):
    (tmp_path / "results/default").mkdir(parents=True)
    (tmp_path / "results/default/kept").touch()
    done = make(tmp_path, "-f", "project/Makefile", "clean-results")
    assert done.returncode == 2 and "run make in the project's folder, where the Snakefile is" in done.stderr
    assert (tmp_path / "results/default/kept").exists()
