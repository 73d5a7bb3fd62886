"""The package as a library: light to import, typed, and its worked example trains."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.networks import BOS, EOS, TOKENS, tiny_llama
from support.workflow import ROOT

import sequencematch
from sequencematch.core import Normaliser, Trajectory
from sequencematch.model.policy import Policy
from sequencematch.sampling.rollout import Decoding, sample
from sequencematch.settings.training import Objective
from sequencematch.training.batches import Corpus
from sequencematch.training.losses import FUNCTIONS, score_batch

EXAMPLE = ROOT / "tests/examples/own_loop.py"
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
    return set(done.stdout.splitlines()[-1].split())


def test_imports_are_light():
    assert loaded_after("import sequencematch") == set()
    assert loaded_after("from sequencematch import state_tree, algorithm_2, sequence_match, Objective") == {"torch"}
    assert not loaded_after("from sequencematch.cli import main\ntry: main(['-h'])\nexcept SystemExit: print()")
    assert not loaded_after("import sequencematch.data.tokenizer") & {"torch", "transformers"}
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


@pytest.fixture
def train(monkeypatch):
    """The training loop of the example."""
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    return importlib.import_module(EXAMPLE.stem).train


def test_the_loop_of_ones_own_is_under_50_lines_and_learns(train):
    lines = EXAMPLE.read_text().splitlines()
    assert sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines) < 50
    lm = tiny_llama()
    for _ in train(lm, copying(200), list(TOKENS), steps=100):
        pass
    assert right_share(Policy(lm, backspace=False)) > 0.6


def test_the_first_loss_of_the_example_is_the_pipelines(train, monkeypatch):
    """Loss and gradient, on the data and rollouts that the example drew; rollouts that were cut off say so."""
    seen, drawn = [], []
    state_tree, inject = sequencematch.state_tree, sequencematch.inject
    monkeypatch.setattr(sequencematch, "state_tree", lambda rows, bkspc: seen.append(rows) or state_tree(rows, bkspc))
    monkeypatch.setattr(sequencematch, "inject", lambda *a: drawn.append(inject(*a)) or drawn[-1])
    lm, policy = tiny_llama(), Policy(tiny_llama(), backspace=True)
    (loss,) = train(lm, copying(50), list(TOKENS), steps=1)
    (rows,) = seen
    rollouts = [rollout for _, rollout in rows]
    assert {rollout.ended for rollout in rollouts} == {True, False}
    assert all(rollout.ended == (rollout.actions[-1] == EOS) for rollout in rollouts)
    corpus = Corpus([[Trajectory(prompt=[BOS], actions=a, imitated=i) for a, i in drawn]], digest="")
    normaliser = Normaliser(
        trajectories=len(rows),
        length=corpus.length,
        cloned=corpus.cloned(False),
        model_transitions=sum(len(rollout.actions) for rollout in rollouts),
    )
    expected, _ = FUNCTIONS["sm"](score_batch(policy, rows, True, False), normaliser, Objective(), beta=0.2)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    expected.backward()
    for ours, theirs in zip(policy.lm.parameters(), lm.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, ours.grad, atol=1e-6, rtol=1e-5)
