"""The trial of a ``<bkspc>`` trained with the surprise: its fit, the states that it reads, and the script itself."""

import json
import subprocess
import sys

import pytest
import torch
from support.tiny import a_policy
from support.workflow import ROOT, load_script

from sequencematch.core import Trajectory


@pytest.fixture(scope="module")
def trial():
    return load_script("workflow/try_surprise.py")


def test_the_fit_finds_the_weights_that_made_the_data(trial):
    draw = torch.Generator().manual_seed(1)
    above, surprise = (torch.randn(20_000, generator=draw, dtype=torch.float64) for _ in range(2))
    p = torch.sigmoid(above - 1.0 + 2.0 * surprise.exp())
    deleted = torch.bernoulli(p, generator=draw)
    states = (above, surprise.exp(), deleted)
    bias, weight = trial.fit(states)
    assert (bias, weight) == pytest.approx((-1.0, 2.0), abs=0.15)
    best = trial.loss(states, bias, weight)
    for step in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):
        assert best < trial.loss(states, bias + step[0], weight + step[1])


def test_the_surprise_is_that_of_the_last_live_token(trial):
    """After a deletion it is that of the token before: computed here by a forward pass over each state."""
    policy = a_policy()
    bkspc, prompt, actions = policy.bkspc, [1, 5, 6], [4, 7, policy.bkspc, 3, 8]
    above, surprise, deleted = trial.states(policy, [Trajectory(prompt, actions, [True, False, True, True, True])])

    def log_pi(live):
        logits = policy(one_state([*prompt, *live]))[0, -1].double()
        logits[bkspc] = logits[bkspc] if live else -torch.inf
        return logits.log_softmax(-1)

    with torch.no_grad():
        assert deleted.tolist() == [1.0, 0.0, 0.0]  # after 4 7; after 4; after 4 3. The push of 7 is the noise's
        expected = [-log_pi([4])[7], -log_pi([])[4], -log_pi([4])[3]]
        assert surprise == pytest.approx(torch.stack(expected), abs=1e-5)
        own = [log_pi(live) for live in ([4, 7], [4], [4, 3])]
        assert above == pytest.approx(torch.stack([p[bkspc] - p[:bkspc].logsumexp(-1) for p in own]), abs=1e-5)


def one_state(tokens):
    from sequencematch.core import Inputs

    return Inputs(torch.tensor([tokens]), torch.arange(len(tokens))[None])


@pytest.mark.slow
def test_the_script_on_a_finished_run(smoke, tmp_path):
    command = [sys.executable, "workflow/try_surprise.py", "--results", str(smoke / "results/smoke"), "--task", "mul"]
    command += ["--methods", "sm", "--examples", "4", "--output", str(tmp_path / "surprise")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "surprise/measured.json").read_text())["sm"]
    assert len(measured) == 2  # seeds
    for seed in measured:
        assert seed.keys() == {"b", "w", "loss"} | {
            f"{d}{what}" for d in ("sampled", "greedy", "perturbed=0.1") for what in ("", ", pops")
        }
        assert seed["w"][0] == 0 != seed["w"][1] and seed["loss"][0] != seed["loss"][1]
    assert done.stdout == (tmp_path / "surprise/table.md").read_text() + "\n"
    wrong = [*command[:3], str(tmp_path), *command[4:]]
    done = subprocess.run(wrong, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "holds no models of the method sm" in done.stderr and done.stderr.count("\n") == 1
