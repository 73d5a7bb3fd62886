"""SequenceMatch in a training loop of one's own: any causal LM of transformers, any data of prompt and completion."""

from random import Random

import torch

import sequencematch as sm


def train(lm, examples, wrong_tokens, steps, batch=16, eta=0.2, seed=0):
    """examples: (prompt, completion) pairs of token ids, completions ending in <eos>; yields the loss of each step."""
    policy, objective, rng = sm.Policy(lm, backspace=True), sm.Objective(alpha=0.03, gamma=0.95), Random(seed)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    longest = max(len(completion) for _, completion in examples) + 8
    for step in range(steps):
        chosen = [examples[rng.randrange(len(examples))] for _ in range(batch)]
        data = []
        for prompt, completion in chosen:  # a mistake and its repair before some tokens; the mistake is not imitated
            actions, imitated = [], []
            for token in completion:
                if rng.random() < eta:
                    actions += [rng.choice([w for w in wrong_tokens if w != token]), policy.bkspc]
                    imitated += [False, True]
                actions, imitated = [*actions, token], [*imitated, True]
            data.append(sm.Trajectory(prompt, actions, imitated))
        # The model's own trajectories from the same prompts, fresh at every step.
        streams = [rng.getrandbits(62) for _ in chosen]
        rollouts, _ = sm.sample(policy, [prompt for prompt, _ in chosen], sm.Decoding(longest), streams, batch)
        model = [
            sm.Trajectory(d.prompt, r.actions, [True] * len(r.actions)) for d, r in zip(data, rollouts, strict=True)
        ]
        inputs, batches = sm.state_tree(list(zip(data, model, strict=True)), policy.bkspc)
        data_scores, model_scores = (sm.score(logits, b) for logits in [policy(inputs)] for b in batches)
        counts = [sum(len(t.actions) for t in side) for side in (data, model)]
        matching = sm.sequence_match(data_scores, model_scores, objective, sm.Normaliser(*counts, batch, batch))
        cloning = sm.behavioural_cloning(data_scores) / counts[0]
        beta = max(0.2, 1 - step / steps)  # behavioural cloning first, then more and more of SequenceMatch
        loss = beta * cloning + (1 - beta) * matching
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield loss.item()
