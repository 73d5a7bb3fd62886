"""Noise that goes on: a trained policy continues each wrong token, as errors look that were not noticed."""

from collections.abc import Sequence
from pathlib import Path

from sequencematch.data.noise import BATCH, Continue, Opening
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.model.likely_noise import proposer
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import eos_ids, sample


def policy_continuations(tokenizer: Tokenizer, policy: Path | None) -> Continue:
    """Continuations sampled at temperature 1 from the policy in the folder ``policy``, cut before ``<eos>``.

    A mistake without a bound goes on to ``<eos>``, or to the end of the policy's context; in a passage of text, which
    has no end, to the end of the passage. Raises UserError as ``likely_noise.proposer`` does.
    """
    network = proposer(tokenizer, policy)
    ends = eos_ids(network)

    def further(opening: Opening) -> int:
        """How many tokens the policy may add."""
        example, mistake = opening.example, opening.mistake
        if mistake.longest is not None:
            return mistake.longest - len(mistake.wrong)
        if example.completion[-1] in ends:
            return network.context - len(example.prompt) - mistake.position - len(mistake.wrong)
        return len(example.completion) - mistake.position - len(mistake.wrong)

    def continuations(openings: Sequence[Opening]) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in openings]
        lengths = [further(opening) for opening in openings]
        for length in sorted(set(lengths) - {0}):  # one length at a time: nothing is drawn that would be cut off
            items = [i for i, other in enumerate(lengths) if other == length]
            prompts = [
                [*o.example.prompt, *o.example.completion[: o.mistake.position], *o.mistake.wrong]
                for o in map(openings.__getitem__, items)
            ]
            streams = [openings[i].stream for i in items]
            rollouts, _ = sample(network, prompts, Decoding(length), streams, BATCH)
            for i, rollout in zip(items, rollouts, strict=True):
                found[i] = rollout.actions[:-1] if rollout.finished else rollout.actions
        return found

    return continuations
