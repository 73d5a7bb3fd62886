"""Completions of the examples of a split under several decodings."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from sequencematch import core
from sequencematch.data.examples import Example
from sequencematch.data.noise import digit_ids, nodes_by_place
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.evaluation.beams import beam_search
from sequencematch.model.policy import Policy
from sequencematch.results.deletions import removals
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import Perturbation, Rollout, sample
from sequencematch.seeding import generator, stable_seed
from sequencematch.settings.decoding_names import CHOICES, KINDS_OF_WRONG, concerns_backspace, decoding_options
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.families import FAMILIES


@dataclass(frozen=True)
class Procedure:
    """How a question is answered.

    rate, kind: of tokens that are replaced by wrong ones. attempts: answers drawn on average, one of them by ``choice``
    (see ``choose``). beams: the width of a beam search (0: none).
    """

    decoding: Decoding
    rate: float = 0.0
    kind: str = ""
    attempts: float = 1.0
    choice: str = ""
    beams: int = 0


def parse_decoding(name: str, max_actions: int, kind: str = "") -> Procedure:
    """The procedure of a decoding's name (else ValueError); ``kind``: of wrong tokens, where the name says none."""
    options = decoding_options(name)
    perturbation = next((key for key in KINDS_OF_WRONG if key in options), "")
    choice = next((key for key in CHOICES if key in options), "")
    rate, attempts, beams = options.pop(perturbation, 0.0), options.pop(choice, 1.0), int(options.pop("beams", 0))
    kind = perturbation.removeprefix("perturbed").removeprefix("_") or kind
    return Procedure(Decoding(max_actions, **options), rate, kind, attempts, choice, beams)


def complete(
    policy: Policy,
    examples: Sequence[Example],
    family: str,
    kind: str,
    settings: Evaluation,
    seed: int,
    tokenizer: Tokenizer,
) -> Iterator[dict]:
    """One record per (decoding, example, answer): actions, final text, and what its backspaces removed.

    Example i draws from the same stream under every decoding and for every method, so differences between methods are
    paired. Decodings that concern ``<bkspc>`` are skipped for a policy without it, and beams for one with it. Perturbed
    decoding uses noise of ``kind`` (``perturbations``), unless the decoding names another kind.

    ``settings.answers`` records of a question, numbered by ``answer``, are independent where the decoding draws. If a
    decoding chooses among several answers or beams, the one record is that of the chosen one. ``pushes`` then counts
    the tokens written for all of them, including deleted tokens: it is the cost of the answer.

    ``finished``: the sequence ended in ``<eos>``. Without a reference, completions have a fixed length instead.
    There, a sequence is finished too if it has as many live tokens as the real continuation when its actions run out,
    and ``text`` is cut to that length. max_actions should exceed it, so that deletions leave enough tokens.
    """
    for name in settings.decodings:
        procedure = parse_decoding(name, settings.max_actions, kind)
        if procedure.beams if policy.backspace else concerns_backspace(name):
            continue
        differing = procedure.decoding.temperature > 0 or procedure.rate > 0
        several = differing and not procedure.choice and FAMILIES[family].reference
        if several:
            procedure = replace(procedure, attempts=settings.answers)
        drawn = _answers_drawn(policy, examples, procedure, settings.batch, seed, tokenizer)
        for i, (example, rollouts) in enumerate(zip(examples, drawn, strict=True)):
            for answer, tried in enumerate([[rollout] for rollout in rollouts] if several else [rollouts]):
                found = _record(policy, example, family, tried, procedure.choice, tokenizer)
                yield {"decoding": name, "example": i, "answer": answer} | found


def _record(
    policy: Policy, example: Example, family: str, tried: Sequence[Rollout], choice: str, tokenizer: Tokenizer
) -> dict:
    """What is recorded of the answer that is chosen among those ``tried``."""
    texts = [core.live_tokens(example.prompt, rollout.actions, policy.bkspc) for rollout in tried]
    chosen = choose(tried, texts, choice)
    rollout, live, finished = tried[chosen], texts[chosen], tried[chosen].finished
    if not FAMILIES[family].reference:
        finished = finished or len(live) >= len(example.completion)
        live = live[: len(example.completion)]
    removed = removals(rollout.actions, example.completion, policy.bkspc)
    return {
        "actions": rollout.actions,
        "text": tokenizer.decode(live),
        "rendered": tokenizer.render(rollout.actions),
        "solution": example.text,
        "finished": finished,
        "pushes": sum(action < policy.bkspc for each in tried for action in each.actions),
        "pops": len(removed),
        "deletions": sum(action >= policy.bkspc for action in rollout.actions),
        "wrong_pops": sum(removal.wrong for removal in removed),
    }


def _answers_drawn(
    policy: Policy, examples: Sequence[Example], procedure: Procedure, batch: int, seed: int, tokenizer: Tokenizer
) -> list[list[Rollout]]:
    """The answers to each example. The first answer's stream does not depend on their number."""
    if procedure.beams:
        prompts = [example.prompt for example in examples]
        return beam_search(policy, prompts, procedure.beams, procedure.decoding.max_actions, batch)
    asked = [(i, k) for i in range(len(examples)) for k in range(attempts(procedure.attempts, seed, i))]
    streams = [stable_seed(seed, "evaluation", i, *([k] if k else [])) for i, k in asked]
    perturbation = None
    if procedure.rate:
        written = perturbations(examples, procedure.kind, tokenizer)
        perturbation = Perturbation(procedure.rate, [written[i] for i, _ in asked], likely=procedure.kind == "model")
    prompts = [examples[i].prompt for i, _ in asked]
    rollouts, _ = sample(policy, prompts, procedure.decoding, streams, batch, perturbation)
    drawn: list[list[Rollout]] = [[] for _ in examples]
    for (i, _), rollout in zip(asked, rollouts, strict=True):
        drawn[i].append(rollout)
    return drawn


def attempts(mean: float, seed: int, item: int) -> int:
    """The number of answers drawn to a question: ``mean`` on average, which need not be a whole number."""
    whole = int(mean)
    return whole + bool(generator(seed, "attempts", item).random() < mean - whole)


def choose(rollouts: Sequence[Rollout], texts: Sequence[Sequence[int]], choice: str) -> int:
    """The index of the answer that is given, among several to one question: the first one without a ``choice``.

    ``best_of``: the one that the policy finds most likely (log pi of all actions, deletions included). ``majority``:
    the most frequent of those that ended, and the first of several such answers.
    """
    if choice == "best_of":
        return max(range(len(rollouts)), key=lambda k: sum(rollouts[k].log_policy))
    if choice == "majority":
        votes = Counter(tuple(text) for text, rollout in zip(texts, rollouts, strict=True) if rollout.finished)
        return max(range(len(rollouts)), key=lambda k: rollouts[k].finished * votes[tuple(texts[k])])
    return 0


def perturbations(examples: Sequence[Example], kind: str, tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens that perturbed decoding may write, for each prompt.

    Noise of the kind 'task' writes digits of the question's base, or the nodes of its graph. Every other kind may write
    any token that is not special; for the kind 'model', each is as likely as the policy finds it.
    """
    if kind == "task":
        return [sorted(digit_ids(tokenizer, e.base) or set(chain(*nodes_by_place(tokenizer, e)))) for e in examples]
    return [tokenizer.ordinary_ids] * len(examples)
