"""How a policy continues prompts whose last token was replaced by a random one (table 8)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sequencematch.data.examples import Example
from sequencematch.data.noise import draw_wrong, random_noise
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.model.policy import Policy
from sequencematch.results.deletions import pieces
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import sample
from sequencematch.seeding import generator, stable_seed
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.families import FAMILIES


def with_last_of_prompt(example: Example) -> Example:
    """The example whose completion begins with the prompt's last token."""
    return replace(example, prompt=example.prompt[:-1], completion=[example.prompt[-1], *example.completion])


def show(
    policy: Policy, examples: Sequence[Example], family: str, settings: Evaluation, seed: int, tokenizer: Tokenizer
) -> Iterator[dict]:
    """How the policy continues a prompt whose last token was replaced by a random other token.

    The first ``settings.shown`` prompts are used, without any selection, and actions are sampled at temperature 1. The
    policy may delete the wrong token. Only passages are shown, because other prompts end in fixed words that no model
    here learns to write. There is nothing to show of a policy without ``<bkspc>``.
    """
    if FAMILIES[family].reference or not policy.backspace:
        return
    prompts = [example.prompt[:-1] for example in examples[: settings.shown]]
    last = [with_last_of_prompt(example) for example in examples[: settings.shown]]
    weights = random_noise(tokenizer, ())(last)
    wrong: list[int] = []
    for i, (example, w) in enumerate(zip(last, weights, strict=True)):
        token = draw_wrong(example.completion, w, 0, generator(seed, "shown", "wrong", i))
        assert token is not None, "random noise gives every ordinary token the same weight"
        wrong.append(token)
    streams = [stable_seed(seed, "shown", i) for i in range(len(prompts))]
    begun = [[token] for token in wrong]
    rollouts, _ = sample(policy, prompts, Decoding(settings.max_actions), streams, settings.batch, begun=begun)
    for i, (example, token, rollout) in enumerate(zip(last, wrong, rollouts, strict=True)):
        typed = [token, *rollout.actions]
        yield {
            "example": i,
            "prompt": tokenizer.decode(example.prompt),
            "true": tokenizer.decode(example.completion[:1]),
            "wrong": tokenizer.decode([token]),
            "pieces": [[tokenizer.decode(tokens), fate] for tokens, fate in pieces(typed, policy.bkspc, begun=1)],
            "answered_at_once": rollout.actions[0] >= policy.bkspc,
            "rendered": tokenizer.render(typed),
        }
