"""The kept example: the command of the README types a deletion and a right answer, and the script with cells runs."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.workflow import ROOT

from sequencematch.cli import main
from sequencematch.errors import UserError
from sequencematch.results.deletions import left, steps
from sequencematch.results.run_figures import first_dead_end, graph_paths, walks_back
from sequencematch.store.files import read_json

sys.path.insert(0, str(ROOT / "workflow"))

import keep_example as kept
from keep_reference import markers


def test_the_command_of_the_readme_types_what_it_shows(monkeypatch, capsys):
    """A deletion of a wrong token, then the right answer: the block between the markers is what the command prints."""
    monkeypatch.chdir(ROOT)
    chosen = read_json(kept.CHOSEN)
    main(["sample", str(kept.MODEL), chosen["prompt"], "--seed", str(chosen["seed"])])
    printed = capsys.readouterr().out
    assert "<bkspc>" in printed and printed.splitlines()[-1] == chosen["answer"]
    assert kept.good(kept.typed_of_chosen(), chosen["answer"])
    begin, end = markers("example")
    assert f"{begin}\n{kept.block()}{end}" in (ROOT / "README.md").read_text()
    assert "".join(f"    {line}\n" for line in printed.splitlines()) in kept.block()


def test_a_good_example_corrects_a_mistake():
    corrected = ["-", "4", "6", "<bkspc>", "5", "<eos>"]
    assert kept.good(corrected, "-45")
    assert not kept.good(corrected, "-46")
    assert not kept.good(["-", "4", "5", "<eos>"], "-45")
    assert not kept.good(["-", "4", "<bkspc>", "4", "5", "<eos>"], "-45"), "the deleted token was right"
    assert not kept.good(["-", "4", "6", "<bkspc>", "5"], "-45"), "cut off"


def test_the_seed_with_the_latest_mistake_is_chosen(monkeypatch):
    drawn = {
        0: ["4", "5", "<eos>"],
        1: ["6", "<bkspc>", "4", "5", "<eos>"],
        2: ["4", "6", "<bkspc>", "5", "<eos>"],
    }
    monkeypatch.setattr(kept, "SEEDS", range(3))
    monkeypatch.setattr(kept, "corrected", lambda *_: [{"prompt": "q ", "solution": "45"}])
    monkeypatch.setattr(kept, "typed_by", lambda prompt, seeds: [drawn[seed] for seed in seeds])
    assert kept.choose(Path("run"), Path("data")) == {"prompt": "q", "seed": 2, "answer": "45"}
    drawn[1] = drawn[2] = drawn[0]
    with pytest.raises(UserError, match="corrects no answer with a seed below 3"):
        kept.choose(Path("run"), Path("data"))


def test_steps_are_runs_of_writing_and_of_deleting():
    first, second, third = steps(["1", "4", "3", "<bkspc_2>", "2", "<eos>"])
    assert (first.before, first.changed) == ("", [("1", False), ("4", True), ("3", True)])
    assert second.deletes and (second.before, second.text) == ("1", "43")
    assert (third.before, third.text, third.deletes) == ("1", "2", False)
    assert left(["4", "6", "<bkspc>", "5", "<eos>"]) == "45" and left(["4", "<bkspc>"]) == ""
    with pytest.raises(ValueError, match="action 1 deletes"):
        steps(["4", "<bkspc_2>"])


def test_the_first_right_answer_that_deletes_a_whole_wrong_arm_is_drawn():
    question, back = "5:52|43|51|2G|79|3X|9G|14=", [*"143", *["<bkspc>"] * 3, "2", "<eos>"]
    assert graph_paths(question) == ["52G", "5143X", "79G"]
    assert walks_back(question, back) and walks_back(question, [*"143", "<bkspc_3>", "2", "<eos>"])
    for other in (["1", "<bkspc>", "2"], ["2"], [*"143", "<bkspc>", "3"], [*"79", "<bkspc_2>", "2"]):
        assert not walks_back(question, other)
    straight, wrong, right = (
        {"text": text, "solution": "2", "rendered": rendered}
        for text, rendered in (("2", "2<eos>"), ("14", "143<bkspc_3>14<eos>"), ("2", "".join(back)))
    )
    assert first_dead_end([(question, straight), (question, wrong)]) is None
    assert first_dead_end([(question, straight), (question, wrong), (question, right)]) == (question, back)


@pytest.mark.slow
def test_the_script_with_cells(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples/watch.py"))
    printed = capsys.readouterr().out
    assert "⌫" in printed and "<bkspc>" in printed
    for name in ("masks.png", "state_tree.png"):
        image = Image.open(tmp_path / "results/watch" / name).convert("L")
        assert (900 <= image.width <= 1260 and image.getextrema() == (0, 255)) or image.getextrema()[0] < 100
