"""SequenceMatch in a training loop of one's own: any causal LM of transformers, any data of prompt and completion."""

import numpy as np
import torch

import sequencematch as sm


def train(lm, examples, wrong_tokens, steps, batch=16, eta=0.2, seed=0):
    """examples: (prompt, completion) pairs of token ids, completions ending in <eos>; yields the loss of each step."""
    policy, objective, rng = (
        sm.Policy(lm, backspace=True),
        sm.Objective(alpha=0.03, gamma=0.95),
        np.random.default_rng(seed),
    )
    optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    data = []
    for prompt, completion in examples:  # a mistake and its repair before some tokens; the mistake is not imitated
        wrong = [[w for w in wrong_tokens if w != token] for token in completion]
        drawn = lambda place, rng, wrong=wrong: int(rng.choice(wrong[place]))  # noqa: E731
        actions, imitated = sm.inject(completion, eta, drawn, policy.bkspc, rng)
        data.append(sm.Trajectory(prompt=prompt, actions=actions, imitated=imitated))
    # Constants of the run: divided by those of its batch, short sequences would count more.
    length = np.mean([len(t.actions) for t in data]).item()
    cloned = np.mean([sum(t.imitated) for t in data]).item()
    decoding = sm.Decoding(max(len(completion) for _, completion in examples) + 8)
    for step in range(steps):
        chosen = [data[k] for k in rng.integers(len(data), size=batch)]
        # The model's own trajectories from the same prompts, fresh at every step.
        streams = rng.integers(2**62, size=batch).tolist()
        rollouts, _ = sm.sample(policy, [t.prompt for t in chosen], decoding, streams, batch)
        model = [
            sm.Trajectory(prompt=t.prompt, actions=r.actions, imitated=[True] * len(r.actions), ended=r.finished)
            for t, r in zip(chosen, rollouts, strict=True)
        ]
        inputs, states = sm.state_tree(list(zip(chosen, model, strict=True)), policy.bkspc)
        data_scores, model_scores = (sm.score(logits, index) for logits in [policy(inputs)] for index in states)
        transitions = sum(len(t.actions) for t in model)
        normaliser = sm.Normaliser(trajectories=batch, length=length, cloned=cloned, model_transitions=transitions)
        matching = sm.sequence_match(data_scores, model_scores, objective, normaliser)
        cloning = sm.behavioural_cloning(data_scores) / normaliser.cloning
        beta = max(0.2, 1 - (step + 1) / steps)  # behavioural cloning first, then more and more of SequenceMatch
        loss = beta * cloning + (1 - beta) * matching
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield loss.item()
