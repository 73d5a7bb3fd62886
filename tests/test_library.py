"""The package as a library: light to import, typed, and its worked examples train."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.networks import BOS, EOS, TOKENS, tiny_llama

import sequencematch
from sequencematch.core import Trajectory
from sequencematch.sampling.rollout import Decoding, sample

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "tests/examples"
PACKAGE = Path(sequencematch.__file__).parent


def test_every_public_name_is_there_and_documented():
    for name in sequencematch.__all__:
        value = getattr(sequencematch, name)
        if callable(value):
            assert value.__doc__ and f"``{name}``" in sequencematch.__doc__, name
    assert set(sequencematch.__all__) <= set(dir(sequencematch))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sequencematch.nothing


def test_the_stub_names_the_same_things_in_the_same_places():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    stub = {
        alias.asname: node.module.partition(".")[2]
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert stub == sequencematch._HOME
    assert (PACKAGE / "py.typed").is_file()


def loaded_after(code: str) -> set[str]:
    heavy = "torch transformers datasets snakemake peft matplotlib accelerate pydantic safetensors"
    probe = f"import sys\n{code}\nprint(*(set({heavy.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_imports_are_light():
    assert loaded_after("import sequencematch") == set()
    assert loaded_after("from sequencematch import state_tree, algorithm_2, sequence_match, Objective") == {"torch"}
    with_sampler = loaded_after("from sequencematch import sample, Policy, Decoding")
    assert not with_sampler & {"datasets", "snakemake", "peft", "matplotlib"}


def copying(n: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """A small task: repeat the prompt's two tokens."""
    torch.manual_seed(seed)
    pairs = torch.randint(min(TOKENS), max(TOKENS) + 1, (n, 2)).tolist()
    return [([BOS, *pair], [*pair, EOS]) for pair in pairs]


def right_share(policy) -> float:
    examples = copying(64, seed=1)
    rollouts, _ = sample(policy, [p for p, _ in examples], Decoding(10), list(range(64)), batch=64)
    live = [sequencematch.live_tokens([BOS], r.actions, policy.bkspc) for r in rollouts]
    return sum(text == completion for text, (_, completion) in zip(live, examples, strict=True)) / 64


def example(name: str):
    sys.path.insert(0, str(EXAMPLES))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(EXAMPLES))


def test_the_loop_of_ones_own_is_under_40_lines_and_learns():
    source = (EXAMPLES / "own_loop.py").read_text()
    statements = [line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(statements) < 40
    lm = tiny_llama()
    losses = list(example("own_loop").train(lm, copying(200), list(TOKENS), steps=100))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_the_trainer_learns(tmp_path):
    import random

    rng = random.Random(0)
    data = []
    for prompt, completion in copying(200):
        first, *rest = completion
        wrong = rng.choice([t for t in TOKENS if t != first])
        noised = rng.random() < 0.3
        actions = [wrong, 8, first, *rest] if noised else completion
        data.append(Trajectory(prompt, actions, [not noised, *[True] * (len(actions) - 1)]))
    trainer = example("with_trainer").train(tiny_llama(), data, str(tmp_path), steps=100, max_actions=8)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert right_share(trainer.model) > 0.6
