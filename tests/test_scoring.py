"""From samples to metrics, through the real command: hand-computed numbers, and one sentence for bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "src" / "score.py"


def sample(decoding, example, text, solution, finished=True, pops=0, wrong_pops=0) -> dict:
    return {
        "decoding": decoding,
        "example": example,
        "actions": [],
        "text": text,
        "rendered": "",
        "finished": finished,
        "solution": solution,
        "pops": pops,
        "wrong_pops": wrong_pops,
    }


SAMPLES = [
    sample("sampled", 2, "7", "7", finished=False),  # right so far, but cut off: wrong
    sample("sampled", 0, "12", "12", pops=3, wrong_pops=1),
    sample("sampled", 1, "12 ", "12", pops=1, wrong_pops=1),
    sample("sampled", 3, "-4", "-4"),
    sample("greedy", 0, "12", "12"),
    sample("greedy", 1, "12", "12"),
    sample("greedy", 2, "8", "7"),
    sample("greedy", 3, "-4", "-4"),
]
REPAIR = {
    "backspace": True,
    "corrupted": [0.5, 1.0, 0.6],
    "clean": [0.1, 0.0],
    "example_corrupted": [0, 1, 3],
    "example_clean": [1, 3],
}


@pytest.fixture
def run(tmp_path):
    """Write the inputs of one run and score them; returns the finished process and the metrics, if any."""
    settings = {"optimiser": {"batch": 32}, "model": {"layers": 2}}
    provenance = {
        "base_steps": 1500,
        "steps": 2100,
        "settings": settings,
        "commit": "0123456789abcdef",
        "uncommitted_changes": False,
    }

    def score(samples=SAMPLES, repair=REPAIR, provenance=provenance):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in samples]
        (tmp_path / "samples.jsonl").write_text("".join(line + "\n" for line in lines))
        (tmp_path / "repair.json").write_text(json.dumps(repair))
        for name, content in (("model", provenance), ("examples", {"digest": "abc"})):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "provenance.json").write_text(json.dumps(content))
        target = tmp_path / "metrics.json"
        options = {name: tmp_path / name for name in ("model", "examples")}
        options |= {"samples": tmp_path / "samples.jsonl", "repair": tmp_path / "repair.json", "output": target}
        options |= {"scale": "smoke", "task": "mul", "method": "sm", "eta": "0.2", "seed": "1"}
        command = [sys.executable, SCRIPT, *(word for name in options for word in (f"--{name}", options[name]))]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        return done, json.loads(target.read_text()) if target.exists() else None

    return score


def test_hand_computed_numbers(run):
    done, metrics = run()
    assert done.returncode == 0, done.stderr
    assert {name: metrics[name] for name in ("scale", "task", "method", "eta", "seed")} == {
        "scale": "smoke",
        "task": "mul",
        "method": "sm",
        "eta": 0.2,
        "seed": 1,
    }
    assert metrics["decodings"]["sampled"] == {
        "accuracy": 0.5,
        "n": 4,
        "correct": "1001",
        "pops_per_sequence": 1.0,
        "wrong_pop_share": 0.5,
        "cut_off_share": 0.25,
    }
    greedy = metrics["decodings"]["greedy"]
    assert (greedy["correct"], greedy["wrong_pop_share"], greedy["cut_off_share"]) == ("1101", None, 0.0)
    assert metrics["repair"]["repair_rate"] == pytest.approx(0.7)
    assert metrics["repair"]["false_alarm_rate"] == pytest.approx(0.05)
    assert metrics["repair"]["per_example"]["clean"] == {"1": 0.1, "3": 0.0}
    assert metrics["budget"]["steps"] == 2100 and metrics["budget"]["data_digest"] == "abc"
    assert metrics["commit"] == "0123456789ab"


def test_policy_without_backspace_has_no_repair(run):
    _, metrics = run(repair=dict.fromkeys(REPAIR, []) | {"backspace": False})
    assert metrics["repair"] is None


def test_questions_digest_tells_questions_apart(run):
    """Other questions, other digest; another order of the lines, the same."""
    _, first = run()
    _, reordered = run(samples=SAMPLES[::-1])
    _, other = run(samples=[line | {"solution": "5"} if line["example"] == 3 else line for line in SAMPLES])
    digests = [metrics["budget"]["questions_digest"] for metrics in (first, reordered, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": [*SAMPLES[:2], '{"decoding": "sam']}, "line 3 of"),
        ({"samples": [{"decoding": "sampled", "example": 0}]}, "'text' is missing"),
        ({"samples": [SAMPLES[0] | {"finished": "false"}]}, "not of type bool"),
        ({"samples": [*SAMPLES, SAMPLES[0]]}, "repeats question 2 of decoding 'sampled'"),
        ({"samples": SAMPLES[:-1]}, "different questions"),
        ({"samples": []}, "holds no samples"),
        ({"repair": REPAIR | {"clean": [0.1]}}, "one probability per question"),
        ({"repair": REPAIR | {"clean": [0.1, 7.0]}}, "one probability per question"),
        ({"repair": {"corrupted": []}}, "'backspace'"),
        ({"provenance": {"steps": 3}}, "lacks 'settings'"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(run, changes, said):
    done, metrics = run(**changes)
    assert done.returncode == 1 and metrics is None
    assert done.stderr.startswith("error: ") and said in done.stderr and done.stderr.count("\n") == 1


def test_starts_without_torch_and_pandas():
    code = (
        f"import runpy, sys; runpy.run_path({str(SCRIPT)!r});"
        "print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
