"""Does this machine round as the one that made the kept tables? A digest of a few steps of training."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import torch

from sequencematch import core
from sequencematch.model.build import new_policy
from sequencematch.seeding import generator
from sequencematch.settings.model import Model
from sequencematch.store.files import read_json

VOCABULARY, BATCH, LENGTH, STEPS = 32, 32, 12, 20


def digest() -> str:
    """Of the weights after SequenceMatch training of the default network on random tokens: about two seconds.

    Training amplifies a difference in the last bit of any operation, so equal digests mean that the operations of
    training round alike. Kernels are those of the environment (``kernels.choose``).
    """
    policy = new_policy(Model(), VOCABULARY, {"bos": 0, "eos": 1, "pad": 2}, backspace=True, seed=0)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-3, fused=True)
    rng, objective = generator("bits"), core.Objective(alpha=0.03, gamma=0.95)

    def trajectory(prompt: list[int]) -> core.Trajectory:
        tokens = rng.integers(3, VOCABULARY, LENGTH).tolist()
        actions = [*tokens[:4], policy.bkspc, *tokens[4:]]
        return core.Trajectory(prompt=prompt, actions=actions, imitated=[True] * len(actions), ended=True)

    length = LENGTH + 1
    normaliser = core.Normaliser(trajectories=BATCH, length=length, cloned=length, model_transitions=BATCH * length)
    for _ in range(STEPS):
        prompts = [rng.integers(3, VOCABULARY, 6).tolist() for _ in range(BATCH)]
        inputs, states = core.state_tree([[trajectory(p), trajectory(p)] for p in prompts], policy.bkspc)
        data, model = policy.score(inputs, states)
        loss = core.behavioural_cloning(data) / normaliser.cloning
        loss = loss + core.sequence_match(data, model, objective, normaliser)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
    weights = hashlib.sha256()
    for tensor in policy.state_dict().values():
        weights.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return weights.hexdigest()[:16]


def rounding(reference: Path) -> str:
    """Whether this machine rounds as the one that made the tables in a kept scale's folder; '' where none is kept."""
    record = reference / "provenance.json"
    kept = read_json(record, "take it from the repository again") if record.is_file() else {}
    if not kept.get("bits"):
        return ""
    if digest() == kept["bits"]:
        return "This CPU rounds as the one that made the kept tables: the same code gives the same bits."
    alike = kept.get("bits_compatible") == compatible_digest()
    return (
        "This CPU rounds differently from the one that made the kept tables (or its packages or the code did): expect "
        "other digits, as with other seeds (docs/troubleshooting.md)."
        + (" With jobs.kernels: compatible both round alike." if alike else "")
    )


def compatible_digest() -> str:
    """The digest under ``compatible`` kernels, which torch chooses when it is loaded: another process."""
    chosen = "from sequencematch import kernels; kernels.choose('compatible')"
    program = f"{chosen}; from {__name__} import digest; print(digest())"
    found = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=found, capture_output=True, text=True, check=True)
    return done.stdout.strip()
