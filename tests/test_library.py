"""The package as a library: light to import, typed, and its worked examples train."""

import ast
import copy
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


def example(name: str):
    sys.path.insert(0, str(EXAMPLES))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(EXAMPLES))


def test_the_loop_of_ones_own_is_under_50_lines_and_learns():
    source = (EXAMPLES / "own_loop.py").read_text()
    statements = [line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(statements) < 50
    lm = tiny_llama()
    for _ in example("own_loop").train(lm, copying(200), list(TOKENS), steps=100):
        pass
    assert right_share(Policy(lm, backspace=False)) > 0.6


def noised(examples):
    """Trajectories, some with a wrong first token that is deleted."""
    data = []
    for number, (prompt, (first, *rest)) in enumerate(examples):
        wrong = [TOKENS[first % len(TOKENS)], 8] if number % 3 == 0 else []
        actions = [*wrong, first, *rest]
        data.append(
            Trajectory(
                prompt=prompt, actions=actions, imitated=[k >= len(wrong) or k == 1 for k in range(len(actions))]
            )
        )
    return data


def test_the_trainer_learns(tmp_path):
    trainer = example("with_trainer").train(tiny_llama(), noised(copying(200)), str(tmp_path), steps=100, max_actions=8)
    assert right_share(trainer.model) > 0.6


def test_the_first_loss_of_the_examples_is_the_pipelines(tmp_path, monkeypatch):
    """Loss and gradient, on the data and rollouts that the example drew; rollouts that were cut off say so."""
    seen, original = [], sequencematch.state_tree
    monkeypatch.setattr(sequencematch, "state_tree", lambda rows, bkspc: (seen.append(rows), original(rows, bkspc))[1])

    def check(loss, lm, policy, corpus):
        rows = seen[-1]
        rollouts = [rollout for _, rollout in rows]
        assert {rollout.ended for rollout in rollouts} == {True, False}
        assert all(rollout.ended == (rollout.actions[-1] == EOS) for rollout in rollouts)
        transitions = sum(len(rollout.actions) for rollout in rollouts)
        normaliser = Normaliser(
            trajectories=len(rows), length=corpus.length, cloned=corpus.cloned(False), model_transitions=transitions
        )
        expected, _ = FUNCTIONS["sm"](score_batch(policy, rows, True, False), normaliser, Objective(), beta=0.2)
        assert loss == pytest.approx(expected.item(), rel=1e-6)
        expected.backward()
        for ours, theirs in zip(policy.lm.parameters(), lm.parameters(), strict=True):
            torch.testing.assert_close(theirs.grad, ours.grad, atol=1e-6, rtol=1e-5)

    lm, drawn = tiny_llama(), []
    policy, inject = Policy(tiny_llama(), backspace=True), sequencematch.inject
    monkeypatch.setattr(sequencematch, "inject", lambda *a: drawn.append(inject(*a)) or drawn[-1])
    (loss,) = example("own_loop").train(lm, copying(50), list(TOKENS), steps=1)
    data = [Trajectory(prompt=[BOS], actions=actions, imitated=imitated) for actions, imitated in drawn]
    check(loss, lm, policy, Corpus([data], digest=""))

    data = noised(copying(50))
    trainer = example("with_trainer").train(tiny_llama(), data, str(tmp_path), steps=1, max_actions=8)
    policy = copy.deepcopy(trainer.model)
    loss = trainer.compute_loss(trainer.model, data[:16])
    loss.backward()
    check(loss.item(), trainer.model.lm, policy, Corpus([data], digest=""))
