"""make gpu-check without a GPU: what it would do, what it says, and how it goes on where it was stopped."""

import json
import subprocess
import sys

import pytest
import torch
from support.workflow import ROOT

sys.path.insert(0, str(ROOT / "workflow"))
import gpu_check
from gpu_check import Piece, is_done, pieces, take

from sequencematch.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for part in ("config.yaml", "workflow", "src"):
        (tmp_path / part).symlink_to(ROOT / part)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder, *words):
    command = [sys.executable, "workflow/gpu_check.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_dry_run_lists_every_piece_and_runs_none(folder):
    done = run(folder, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    listed = [line.split("  ", 1)[1] for line in done.stdout.splitlines()]
    assert listed == [piece.name for piece in pieces()]
    assert all(line.startswith("to do  ") for line in done.stdout.splitlines())
    expected = [
        *("parity: Flex attention", "parity: two processes", "table3 at 7b: steps", "table3 at 7b: sampling"),
        *("table4 at 7b: the table", "table6 at the scale gpu: seed 1", "divergences at the scale gpu: the table"),
    ]
    assert [name for name in listed if name in expected] == expected
    assert not [name for name in listed if name.startswith(("table5", "table8"))]  # their texts would be downloaded
    assert not (folder / "results").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_without_cuda_one_sentence(folder):
    done = run(folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: torch finds no CUDA device on this machine: run make gpu-check where there is one "
        "(docs/paper_scale.md)\n"
    )


def test_the_named_tests_are_those_marked_cuda():
    tests = {str(f.relative_to(ROOT)): f.read_text() for f in (ROOT / "tests").rglob("test_*.py")}
    marked = {name for name, text in tests.items() if "\n@pytest.mark.cuda\n" in text}
    assert {file for files in gpu_check.PARITY.values() for file in files} == marked != set()


def script(folder, text):
    (folder / "piece.py").write_text(text)
    return (sys.executable, "piece.py")


# Counts up, once for each start, and ends by itself at the third.
COUNTING = """
import time
from pathlib import Path
count = Path("count")
count.write_text(count.read_text() + "x" if count.exists() else "x")
time.sleep(0 if len(count.read_text()) == 3 else 60)
"""


def test_a_stopped_piece_goes_on_until_it_is_done_and_is_not_done_again(folder):
    piece = Piece("a long one", script(folder, COUNTING), resumes=True)
    for state, parts in (("stopped", 1), ("stopped", 2), ("done", 3)):
        assert not is_done(piece)
        take(piece, 1.5)
        record = json.loads(piece.record.read_text())
        assert (record["state"], record["parts"]) == (state, parts) and record["device"] and record["packages"]
    assert is_done(piece)
    piece.record.write_text(json.dumps(record | {"commit": "another"}))
    assert not is_done(piece)


def test_what_fails_or_cannot_be_gone_on_with_is_one_sentence(folder):
    failing = Piece("a failing one", script(folder, "raise SystemExit(7)"), resumes=True)
    with pytest.raises(UserError, match=r"the piece 'a failing one' failed .status 7.: its message is above"):
        take(failing, 60)
    slow = Piece("a slow one", script(folder, "import time; time.sleep(60)"))
    with pytest.raises(
        UserError, match="was not finished after 1 times 1 s: give it longer, as by make gpu-check ARGS"
    ):
        take(slow, 1)
    assert not is_done(failing) and not is_done(slow)
