"""How a policy meets wrong tokens: in reference completions, as older errors, and in damaged prompts (table 8).

The method is motivated by errors that compound, so older errors are measured as well: a wrong token is pushed first,
then d tokens are pushed greedily (``<bkspc>`` ruled out), and then the policy continues by the decoding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import torch

from sequencematch import core
from sequencematch.data.examples import Example
from sequencematch.data.noise import KINDS, draw_wrong, noise_split, random_noise
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.evaluation.completions import parse_decoding
from sequencematch.model.likely_noise import model_noise
from sequencematch.model.policy import Policy
from sequencematch.results.deletions import pieces
from sequencematch.sampling.decoding import Decoding, too_many
from sequencematch.sampling.rollout import Rollout, sample
from sequencematch.seeding import generator, stable_seed
from sequencematch.settings.decoding_names import RULES, concerns_backspace, decoding_options
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.families import FAMILIES


def repair(
    policy: Policy,
    splits: Mapping[str, Sequence[Example]],
    family: str,
    settings: Evaluation,
    proposer: Path | None,
    seed: int,
    tokenizer: Tokenizer,
) -> dict:
    """The content of repair.json: under ``answers``, the answers to every kind of corruption.

    The completions of the evaluated split are corrupted; of passages, the last token of each prompt is corrupted too,
    as in table 8. A policy without ``<bkspc>`` has no answers. Those of a policy that keeps deletions are not measured:
    it would read an error before every token, which neither training nor sampling shows it. proposer: folder of the
    policy that proposes wrong tokens of the kind 'model'.
    """
    examples = splits[settings.split]
    if not FAMILIES[family].reference:
        examples = [with_last_of_prompt(example) for example in examples]
    found = {}
    for kind in settings.corruptions if policy.backspace and policy.history == "erase" else ():
        weights = model_noise(tokenizer, proposer) if kind == "model" else KINDS[kind](tokenizer, splits["train"])
        noised = noise_split(examples, 1.0, 1, weights, tokenizer.bkspc, (seed, "evaluation", kind))
        columns = zip(noised["prompt"], noised["actions"], noised["imitated"], strict=True)
        corrupted = [core.Trajectory(prompt=p, actions=a, imitated=i) for p, a, i in columns]
        found[kind] = answers(policy, corrupted, settings.batch)
    return {"backspace": policy.backspace, "corruptions": found}


@torch.no_grad()
def answers(policy: Policy, corrupted: Sequence[core.Trajectory], batch: int) -> dict:
    """P(deletion|s) right after a wrong token (``corrupted``) and right after a true one (``clean``).

    A deletion is of one token or more. The corrupted completions have a wrong token and its ``<bkspc>`` before every
    token (noise at eta = 1). Their state tree holds every state needed, so one forward pass per batch is enough. There
    is one mean per example. ``example_*`` names the examples, because a completion of one token has no clean state (the
    bare prompt and the state after ``<eos>`` do not count).
    """
    result: dict[str, list] = {"corrupted": [], "clean": [], "example_corrupted": [], "example_clean": []}
    policy.eval()
    for start in range(0, len(corrupted), batch):
        rows = corrupted[start : start + batch]
        inputs, (states,) = core.state_tree([(row,) for row in rows], policy.bkspc)
        inputs = inputs.to(policy.device)
        hidden = policy.encode(inputs)
        after_wrong = states.taken & (states.action >= policy.bkspc)
        after_true = states.taken & ~states.imitated
        after_true[:, 0] = False
        for i, nodes in enumerate(states.state[:, :-1]):  # all logits at once would fill the memory
            logits = policy.logits(hidden[i], inputs.position[i])[nodes]
            live = states.live(policy.bkspc)[i, :-1].to(logits.device)
            logits[:, policy.bkspc :].masked_fill_(too_many(live, policy.deletions), -torch.inf)
            probability = logits.softmax(-1)[:, policy.bkspc :].sum(-1).cpu()
            for side, where in (("corrupted", after_wrong[i]), ("clean", after_true[i])):
                if where.any():
                    result[side].append(probability[where].mean().item())
                    result[f"example_{side}"].append(start + i)
    return result


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
    likely = settings.error_kind == "model"
    noise = model_noise(tokenizer, proposer) if likely else KINDS.get(kind, random_noise)(tokenizer, train)
    wrong = {}
    for i, (example, weights) in enumerate(zip(examples, noise(examples), strict=True)):
        if (token := draw_wrong(example.completion, weights, 0, generator(seed, "older errors", i))) is not None:
            wrong[i] = token

    def drawn(forced: Mapping[int, Sequence[int]], decoding: Decoding) -> Sequence[Rollout]:
        """The answers to some of the examples that begin with the actions ``forced``."""
        prompts = [examples[i].prompt for i in forced]
        streams = [stable_seed(seed, "older errors", i) for i in forced]
        return sample(policy, prompts, decoding, streams, settings.batch, forced=[*forced.values()])[0]

    greedy = Decoding(1 + max(settings.error_depths), temperature=0, bkspc_bias=-float("inf"))
    begun = dict(zip(wrong, drawn({i: [token] for i, token in wrong.items()}, greedy), strict=True))
    found: dict[str, dict[str, dict]] = {}
    for name in settings.error_decodings:
        deletes_by_rule = any(rule in decoding_options(name) for rule in RULES)
        if not policy.backspace and (concerns_backspace(name) or not deletes_by_rule):
            continue
        decoding = parse_decoding(name, settings.max_actions).decoding
        found[name] = {}
        for depth in settings.error_depths:
            longer = {i: r.actions for i, r in begun.items() if not r.finished or len(r.actions) > 1 + depth}
            reached = {i: actions[: 1 + depth] for i, actions in longer.items()}
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


def with_last_of_prompt(example: Example) -> Example:
    """The example whose completion begins with the prompt's last token."""
    return replace(example, prompt=example.prompt[:-1], completion=[example.prompt[-1], *example.completion])


def table_8_examples(
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
    begun: list[list[int]] = []
    for i, (example, weights) in enumerate(zip(last, random_noise(tokenizer, ())(last), strict=True)):
        token = draw_wrong(example.completion, weights, 0, generator(seed, "shown", "wrong", i))
        assert token is not None, "random noise gives every ordinary token the same weight"
        begun.append([token])
    streams = [stable_seed(seed, "shown", i) for i in range(len(prompts))]
    rollouts, _ = sample(policy, prompts, Decoding(settings.max_actions), streams, settings.batch, begun=begun)
    for i, (example, wrong, rollout) in enumerate(zip(last, begun, rollouts, strict=True)):
        typed = [*wrong, *rollout.actions]
        yield {
            "example": i,
            "prompt": tokenizer.decode(example.prompt),
            "true": tokenizer.decode(example.completion[:1]),
            "wrong": tokenizer.decode(wrong),
            "pieces": [[tokenizer.decode(tokens), fate] for tokens, fate in pieces(typed, policy.bkspc, begun=1)],
            "answered_at_once": rollout.actions[0] >= policy.bkspc,
            "rendered": tokenizer.render(typed),
        }
