"""What is wrong with a checkout or its records, through the real command: one sentence, before anything runs."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from support.workflow import copy_tree, snakemake

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


def make(tree, *before, **environment):
    words = [*before, sys.executable, "workflow/launcher/run.py", TARGET, "--config", "scale=smoke"]
    return subprocess.run(words, cwd=tree, capture_output=True, text=True, env=os.environ | environment)


def refused(tree, *before, **environment):
    done = make(tree, *before, **environment)
    assert done.returncode == 1 and not (tree / "results").exists(), done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr, done.stderr
    return errors[0]


@pytest.mark.slow
def a_file(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


DAMAGE = {
    "the folder is a file": (".snakemake", a_file),
    "the folder leads nowhere": (".snakemake", lambda path: path.symlink_to("/nowhere/at/all")),
    "the locks are a file": (".snakemake/locks", a_file),
    "the metadata is a file": (".snakemake/metadata", a_file),
    "the lock is a folder": (".snakemake/run.lock", lambda path: path.mkdir(parents=True)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_records_are_one_sentence(tree, name):
    path, damage = DAMAGE[name]
    damage(tree / path)
    assert f"'{path}', where Snakemake keeps its records, is damaged" in refused(tree)


def test_no_room_for_records_is_one_sentence(tree):
    found = refused(tree, "sh", "-c", 'ulimit -f 8; exec "$@"', "sh")
    assert found.startswith("error: writing '.snakemake' failed, the file is larger than the limit")


def test_a_file_in_the_place_of_a_package_is_one_sentence(tree, tmp_path):
    """Snakemake imports yaml before it reads our Snakefile."""
    (tmp_path / "yaml.py").touch()
    assert f"'{tmp_path}/yaml.py' hides the package 'yaml'" in refused(tree, PYTHONPATH=str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logs", "tables"])
def test_results_closed_to_writing_are_one_sentence(tree, name):
    a_file(tree / "results/smoke" / name)
    done = make(tree)
    assert done.returncode == 1 and "Traceback" not in done.stderr and not (tree / "results/smoke/mul").exists()
    assert f"error: using 'results/smoke/{name}' failed, something else is there" in done.stderr


@pytest.mark.slow
def test_damaged_metadata_does_no_harm(tree):
    """They say what made each result: without them it would count as up to date, so it is made again."""
    assert make(tree).returncode == 0
    for contents in ((b"", b"[]"), (b"null", b"[" * 10**5), (b"\xff", b'{"version": "x", "params": 7}')):
        for file, content in zip((tree / ".snakemake/metadata").iterdir(), contents, strict=True):
            file.write_bytes(content)
        done = make(tree)
        assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr
        for result in ("results/smoke/mul/data", TARGET):
            assert f"record of '{result}' is damaged; it will be made again" in done.stderr
        assert "2 of 2 steps (100%) done" in done.stdout + done.stderr
    assert "Nothing to be done" in make(tree).stderr


@pytest.mark.parametrize("name", ["a{seed}", "b}{0}"])
def test_braces_in_the_path_are_one_sentence(tmp_path, name):
    tree = tmp_path / name
    tree.mkdir()
    copy_tree(tree)
    assert "the path of this folder has braces" in refused(tree)
    done = snakemake(tree, "--dry-run", "--config", "scale=smoke")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "has braces" in done.stderr


@pytest.mark.slow
def test_dates_in_the_future_are_one_sentence(tree):
    """Snakemake would throw away what was made from such a file, each time again."""
    assert make(tree).returncode == 0
    later = time.time() + 86400
    for path in (tree / "results/smoke/mul/data", tree / "results/smoke/mul/data/.snakemake_timestamp"):
        os.utime(path, (later, later))
    shutil.rmtree(tree / TARGET)
    done = make(tree)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and not (tree / TARGET).exists()
    assert len(errors) == 1 and "'results/smoke/mul/data' is dated" in errors[0] and "in the future" in errors[0]
    subprocess.run(errors[0].partition("now: ")[2], cwd=tree, shell=True, check=True)  # as the sentence says
    assert make(tree).returncode == 0


@pytest.mark.slow
def test_a_run_can_be_started_while_the_one_before_it_ends(tree):
    """The lock is held for a moment after a kill, and jobs that are ending by themselves are not spoken of."""
    (tree / ".snakemake").mkdir()
    holder = "import fcntl, sys, time; f = open('.snakemake/run.lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1)"
    command = [sys.executable, "-c", f"{holder}; sys.stdout.flush(); time.sleep(1.5)"]
    environment = os.environ | {"SEQUENCEMATCH_RUN": str(tree)}
    with subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        done = make(tree)
    assert done.returncode == 0, done.stderr
    # Another test's run may still be ending, on a busy machine.
    assert f"ending process {process.pid}," not in done.stderr and "another run" not in done.stderr


SLIPS = ["seeds", "=3", "1=2", "a b=3", ""]


@pytest.mark.parametrize(("script", "word"), [("why", ""), ("verify", "=3"), *(("run", word) for word in SLIPS)])
def test_what_is_no_setting_is_one_sentence(tree, script, word):
    words = [sys.executable, f"workflow/launcher/{script}.py", "all", "--config", "scale=smoke", word]
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"error: '{word}' is no setting: write name=value")
