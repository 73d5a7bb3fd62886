"""What is wrong with a checkout or its records, through the real command: one sentence, before anything runs."""

import os
import shutil
import subprocess
import sys

import pytest
from support.workflow import copy_tree, launch, launcher, load_script, run_in, snakemake

TARGET = "results/smoke/mul/tokenizer"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_tree(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def tree(project):
    yield project
    for name in ("results", ".snakemake"):
        path = project / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def refused(tree, command=launch, **options):
    """The one sentence with which a command ends before it has made anything."""
    done = command(tree, TARGET, config=["scale=smoke"], status=1, **options)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr and not (tree / "results").exists(), done.stderr
    return errors[0]


def a_file(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


DAMAGE = {
    "the folder is a file": (".snakemake", a_file),
    "the locks are a file": (".snakemake/locks", a_file),
    "the lock is a folder": (".snakemake/run.lock", lambda path: path.mkdir(parents=True)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_records_are_one_sentence(tree, name):
    path, damage = DAMAGE[name]
    damage(tree / path)
    assert f"'{path}', where Snakemake keeps its records, is damaged" in refused(tree)


def test_no_room_for_records_is_one_sentence(tree):
    command = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *launcher(TARGET)]
    said = run_in(tree, command, status=1).stderr
    assert said.startswith("error: writing '.snakemake' failed, the file is larger than the limit")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logs", "tables"])
def test_results_closed_to_writing_are_one_sentence(tree, name):
    a_file(tree / "results/smoke" / name)
    done = launch(tree, TARGET, status=1)
    assert "Traceback" not in done.stderr and not (tree / "results/smoke/mul").exists()
    assert f"error: using 'results/smoke/{name}' failed, something else is there" in done.stderr


def test_braces_in_the_path_are_one_sentence(tmp_path):
    (tmp_path / "a{seed}").mkdir()
    tree = copy_tree(tmp_path / "a{seed}")
    for command in (launch, snakemake):
        assert "the path of this folder has braces" in refused(tree, command)


@pytest.mark.slow
def test_a_run_can_be_started_while_the_one_before_it_ends(tree):
    """The lock is held for a moment after a kill, and jobs that are ending by themselves are not spoken of."""
    (tree / ".snakemake").mkdir()
    holder = "import fcntl, sys, time; f = open('.snakemake/run.lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1)"
    command = [sys.executable, "-c", f"{holder}; sys.stdout.flush(); time.sleep(1.5)"]
    environment = os.environ | {"SEQUENCEMATCH_RUN": str(tree)}
    with subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        done = launch(tree, TARGET)
    # Another test's run may still be ending, on a busy machine.
    assert f"ending process {process.pid}," not in done.stderr and "another run" not in done.stderr


@pytest.mark.parametrize("word", ["", "seeds", "=3", "a b=3"])
def test_what_is_no_setting_is_one_sentence(word):
    with pytest.raises(SystemExit, match=f"^error: '{word}' is no setting: write name=value"):
        load_script("workflow/launcher/run.py").check_settings(["all", "--config", "scale=smoke", word])
