"""Errors that are older than one token: whether a policy deletes a wrong first token d tokens later.

The method is motivated by errors that compound. So a wrong token is pushed first, then d tokens are pushed greedily
(``<bkspc>`` ruled out), and then the policy continues by the decoding.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from sequencematch import core
from sequencematch.data.examples import Example
from sequencematch.data.noise import KINDS, draw_wrong
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.evaluation.completions import parse_decoding
from sequencematch.model.likely_noise import model_noise
from sequencematch.model.policy import Policy
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import Rollout, sample
from sequencematch.seeding import generator, stable_seed
from sequencematch.settings.decoding_names import RULES, concerns_backspace, decoding_options
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.families import FAMILIES


def older_errors(
    policy: Policy,
    examples: Sequence[Example],
    train: Sequence[Example],
    family: str,
    kind: str,
    settings: Evaluation,
    seed: int,
    tokenizer: Tokenizer,
    proposer: Path | None = None,
) -> dict[str, dict[str, dict]]:
    """What happens to wrong tokens that were written d tokens ago, by decoding and d (``settings.error_depths``).

    Only examples whose greedy text does not end within d tokens are used. The results are lists with one entry for each
    of them: ``example``, its number; ``taken_back``, whether the wrong token was ever deleted; ``right``, whether the
    final text is the reference (null for a family without one); ``pushes``, tokens written after the d-th.

    kind: the noise that wrong tokens are drawn from; random tokens replace those of the kind 'model'. With
    ``settings.error_kind`` 'model' they are likely ones of the policy in the folder ``proposer``, which no rule on
    likelihoods sees. Decodings without any deletion are left out.
    """
    if not settings.error_depths:
        return {}
    if settings.error_kind == "model":
        weights = model_noise(tokenizer, proposer)(examples)
    else:
        weights = KINDS[kind if kind in KINDS else "random"](tokenizer, train)(examples)
    drawn_wrong = (
        (i, draw_wrong(example.completion, w, 0, generator(seed, "older errors", i)))
        for i, (example, w) in enumerate(zip(examples, weights, strict=True))
    )
    wrong = {i: token for i, token in drawn_wrong if token is not None}

    def drawn(forced: Mapping[int, Sequence[int]], decoding: Decoding) -> Sequence[Rollout]:
        """The answers to some of the examples that begin with the actions ``forced``."""
        prompts = [examples[i].prompt for i in forced]
        streams = [stable_seed(seed, "older errors", i) for i in forced]
        return sample(policy, prompts, decoding, streams, settings.batch, forced=[*forced.values()])[0]

    greedy = Decoding(1 + max(settings.error_depths), temperature=0, bkspc_bias=-float("inf"))
    begun = drawn({i: [token] for i, token in wrong.items()}, greedy)
    found: dict[str, dict[str, dict]] = {}
    for name in settings.error_decodings:
        deletes_by_rule = any(rule in decoding_options(name) for rule in RULES)
        if not policy.backspace and (concerns_backspace(name) or not deletes_by_rule):
            continue
        decoding = parse_decoding(name, settings.max_actions).decoding
        found[name] = {}
        for depth in settings.error_depths:
            reached = {
                i: r.actions[: 1 + depth]
                for i, r in zip(wrong, begun, strict=True)
                if not r.finished or len(r.actions) > 1 + depth
            }
            rollouts = drawn(reached, decoding)
            right = [
                r.finished and core.live_tokens([], r.actions, policy.bkspc) == examples[i].completion
                for i, r in zip(reached, rollouts, strict=True)
            ]
            found[name][str(depth)] = {
                "example": [*reached],
                "taken_back": [_taken_back(r, policy.bkspc) for r in rollouts],
                "right": right if FAMILIES[family].reference else None,
                "pushes": [sum(a < policy.bkspc for a in r.actions) - 1 - depth for r in rollouts],
            }
    return found


def _taken_back(rollout: Rollout, bkspc: int) -> bool:
    """Whether the first token was ever removed."""
    return 0 in accumulate(core.growth(action, bkspc) for action in rollout.actions)
