"""Beam search by transformers' ``generate``: the rival of lookahead, for policies that cannot delete."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from transformers import GenerationConfig

from sequencematch.model.policy import Policy
from sequencematch.sampling.rollout import Rollout, eos_ids


@torch.no_grad()
def beam_search(
    policy: Policy, prompts: Sequence[Sequence[int]], beams: int, max_actions: int, batch: int
) -> list[list[Rollout]]:
    """The ``beams`` continuations that a search of that width ends with, for each prompt, the best first.

    They are ranked by log pi per token, as transformers does by default. At most ``batch`` sequences are written at a
    time, of prompts of one length, so that nothing is padded. ``log_policy`` is left empty.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for k, prompt in enumerate(prompts):
        by_length[len(prompt)].append(k)
    ends, together = sorted(eos_ids(policy)), max(batch // beams, 1)
    config = GenerationConfig(
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=max_actions,
        eos_token_id=ends or None,
        pad_token_id=min(ends, default=0),  # after an end; cut off below
    )
    ours = policy.lm.config._attn_implementation
    policy.lm.set_attn_implementation("sdpa")  # our own knows state trees, and no cache of transformers
    found: dict[int, list[Rollout]] = defaultdict(list)
    try:
        for length, items in by_length.items():
            for first in range(0, len(items), together):
                some = items[first : first + together]
                given = torch.tensor([list(prompts[k]) for k in some], device=policy.device)
                written = policy.lm.generate(given, attention_mask=torch.ones_like(given), generation_config=config)
                for place, tokens in enumerate(written[:, length:].tolist()):
                    end = next((n for n, token in enumerate(tokens, start=1) if token in ends), None)
                    found[some[place // beams]].append(Rollout(tokens[:end], end is not None, []))
    finally:
        policy.lm.set_attn_implementation(ours)
    return [found[k] for k in range(len(prompts))]
