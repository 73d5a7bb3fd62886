"""Which share of a training step are matrix products and attention? At the lengths and size of the default scale's products.

python trials/profile_step.py portable|native
"""

import sys
import time

from sequencematch import kernels

kernels.choose(sys.argv[1])

import torch
from torch.profiler import ProfilerActivity, profile

from sequencematch import core
from sequencematch.model.build import new_policy
from sequencematch.seeding import generator
from sequencematch.settings.model import Model

STEPS, BATCH, PROMPT, LENGTH, VOCABULARY = 30, 64, 12, 8, 128
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::_scaled_dot_product_flash_attention_for_cpu",
            "aten::_scaled_dot_product_flash_attention_for_cpu_backward")  # fmt: skip


def measure(rollouts: bool) -> None:
    policy = new_policy(Model(), VOCABULARY, {"bos": 0, "eos": 1, "pad": 2}, backspace=True, seed=0)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-3, fused=True)
    rng, objective = generator("profile"), core.Objective(alpha=0.03, gamma=0.95)
    length = LENGTH + 1
    normaliser = core.Normaliser(trajectories=BATCH, length=length, cloned=length, model_transitions=BATCH * length)

    def trajectory(prompt):
        tokens = rng.integers(3, VOCABULARY, LENGTH).tolist()
        actions = [*tokens[:4], policy.bkspc, *tokens[4:]]
        return core.Trajectory(prompt=prompt, actions=actions, imitated=[True] * len(actions), ended=True)

    def step():
        prompts = [rng.integers(3, VOCABULARY, PROMPT).tolist() for _ in range(BATCH)]
        trees = [[trajectory(prompt) for _ in range(1 + rollouts)] for prompt in prompts]
        inputs, states = core.state_tree(trees, policy.bkspc)
        data, *model = policy.score(inputs, states)
        loss = core.behavioural_cloning(data) / normaliser.cloning
        if rollouts:
            loss = loss + core.sequence_match(data, model[0], objective, normaliser)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()

    for _ in range(5):
        step()
    begun = time.process_time()
    for _ in range(STEPS):
        step()
    seconds = (time.process_time() - begun) / STEPS
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            step()
    times = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    share = sum(times.get(name, 0) for name in PRODUCTS) / sum(times.values())
    print(f"{'SM' if rollouts else 'BC'}: {1e3 * seconds:.1f} ms a step; matrix products and attention {share:.2f}")


torch.set_num_threads(1)
torch.set_flush_denormal(True)
measure(False)
measure(True)
