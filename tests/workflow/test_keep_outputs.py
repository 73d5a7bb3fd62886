"""A run that fails to replace results leaves those of the run before it, and the next run makes them."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from support.workflow import copy_tree, launch

from sequencematch.config import keep_outputs

TARGETS = ("results/smoke/figures/motivating_example.png", "results/smoke/mul/tokenizer")
OLD = ("figures/motivating_example.png", "mul/data/content", "mul/tokenizer/content")
SCRIPTS = ("make_arithmetic", "train_tokenizer", "plot_motivating_example")
# The plan has three jobs. A script that dies has deleted half of its output before.
DYING = """
import os, sys
from pathlib import Path
output = Path(sys.argv[sys.argv.index("--output") + 1])
output.mkdir(parents=True, exist_ok=True) if not output.suffix else output.write_text("half")
"""
ENDS = {"fails": "sys.exit('no')\n", "kills the run": "os.kill(int(os.environ['SEQUENCEMATCH_RUN_PID']), 9)\n"}


def content(tree):
    return {name: (tree / "results/smoke" / name).read_text() for name in OLD}


@pytest.mark.slow
@pytest.mark.parametrize(("dying", "end"), [("train_tokenizer", "fails"), ("plot_motivating_example", "kills the run")])
def test_results_that_a_run_does_not_replace_are_there_after_it(tmp_path, dying, end):
    tree = copy_tree(tmp_path)
    scripts = [tree / "src" / f"{name}.py" for name in SCRIPTS]
    launch(tree, *TARGETS)
    before = content(tree)
    sound = {script: script.read_text() for script in scripts}
    for script in scripts:
        script.write_text(sound[script].replace('"stub"', '"new"'))
    (tree / "src" / f"{dying}.py").write_text(DYING + ENDS[end])
    launch(tree, *TARGETS, status=1 if end == "fails" else -signal.SIGKILL)
    if end == "fails":
        after = content(tree)
        assert set(after.values()) <= {"stub", "new"} and after != dict.fromkeys(after, "new")
        assert before.items() - after.items() == {(n, "stub") for n in after if after[n] == "new"}
        assert not (tree / "results/smoke" / keep_outputs.KEPT).exists()
    (tree / "src" / f"{dying}.py").write_text(sound[tree / "src" / f"{dying}.py"].replace('"stub"', '"new"'))
    launch(tree, *TARGETS)
    assert content(tree) == dict.fromkeys(OLD, "new")
    assert not (tree / "results/smoke" / keep_outputs.KEPT).exists()


def test_links_are_put_back_whole_and_only_where_something_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = Path("results/mine")
    (results / "a/model/train").mkdir(parents=True)
    long = results / ("long" * 50) / ("name" * 50)
    long.parent.mkdir()
    for file in (results / "a/model/train/weights", results / "b.csv", results / "c.csv", long):
        file.write_text("old")
    outputs = [str(results / name) for name in ("a/model", "b.csv", "c.csv", "absent")] + [str(long), "elsewhere"]
    keep_outputs.keep(outputs, results)
    before = os.stat(results / "a/model/train/weights")
    shutil.rmtree(results / "a/model")
    for file in (results / "b.csv", long):
        file.unlink()
    (results / "c.csv").unlink()
    (results / "c.csv").write_text("new")
    (results / "b.csv").touch()  # of a run that was killed, and begun again
    keep_outputs.keep([str(results / "b.csv")], results)
    (results / "b.csv").unlink()
    assert sorted(keep_outputs.put_back(results)) == sorted([results / "a/model", results / "b.csv", long])
    assert os.stat(results / "a/model/train/weights").st_ino == before.st_ino
    assert (results / "c.csv").read_text() == "new" and long.read_text() == "old"
    assert not (results / keep_outputs.KEPT).exists() and not keep_outputs.put_back(results)
    assert len([file for file in keep_outputs.MARKERS.rglob("*") if file.is_file()]) == 3
