"""The scripts that measure take-back with pretrained models, on a tiny network."""

import json
import subprocess
import sys

import pytest
from support.networks import tiny_llama
from support.workflow import ROOT, load_script

from sequencematch.data.python_topics import python_topics
from sequencematch.data.tokenizer import train_byte_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_byte_tokenizer(python_topics()[:20], 400)
    tokenizer.save(folder)
    lm = tiny_llama(tokenizer.size)
    lm.config.max_position_embeddings = 2000
    lm.save_pretrained(folder)
    return folder


def test_which_words_were_taken_back():
    """Three words of one, two and one tokens; 9 deletes. The second word loses both of its tokens."""
    actions = [1, 2, 9, 7, 3, 9, 8, 4, 5]
    assert load_script("trials/measure_repair.py").repaired([[1], [2, 3], [4]], actions, 9) == (
        [False, True, False],
        [None, 7, None],
    )


def test_wrong_words_stand_in_the_draft_alone():
    measure_repair = load_script("trials/measure_repair.py")
    for passage in measure_repair.passages(20):
        assert all(place >= measure_repair.PROMPT for place in passage.right)
        assert all(passage.words[place] != word for place, word in passage.right.items())


@pytest.mark.slow
def test_repairs_are_measured(model, tmp_path):
    words = ["--passages", 4, "--batch", 3, "--ratios", 0.5, "--output", tmp_path / "out"]
    command = [sys.executable, ROOT / "trials/measure_repair.py", "--model", model, *words]
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT)
    counts = json.loads((tmp_path / "out/measured.json").read_text())["0.5"]
    assert (
        0 < counts["restored"] + 1 and 0 < counts["found"] <= counts["wrong"] and counts["accused"] <= counts["right"]
    )
    assert "| 0.5 |" in (tmp_path / "out/table.md").read_text()


@pytest.mark.slow
def test_the_worker_compares_with_a_pass_over_the_live_tokens(model):
    requests = [{"check": True, "length": 6}, {"seed": 1, "batch": 4, "length": 6}, {"seed": 1, "length": 6}]
    done = subprocess.run(
        [sys.executable, ROOT / "trials/peer_worker.py", "takeback", model, "1"],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        check=True,
    )
    _, check, together, alone = map(json.loads, done.stdout.splitlines())
    assert check["worst"] < 1e-4 and check["kept"] == 12
    # A text's last token is not read, but the prompt is; one that ends by itself was written in fewer passes.
    assert 40 < together["kept"] <= 48 and 40 < alone["passes"] == alone["kept"] <= 48
    assert together["passes"] < alone["passes"] < alone["pushed"]
