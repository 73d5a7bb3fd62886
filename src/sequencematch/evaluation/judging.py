"""How good sampled text is: what another model says of it, how near it is to real text, and how it repeats itself.

Measured of the continuations of each decoding and of the real ones, over their first tokens, as many as the real
continuation of the same prompt has:

- perplexity: exp of the mean negative log-likelihood per token, given the prompt, under the judge. Lower than that of
  real text is not better: it is duller.
- MAUVE (Pillutla et al., 2021; package mauve-text) between sampled and real continuations, each a point: the judge's
  last hidden states averaged over its tokens. (Features of the last token alone say nearly nothing and saturate.)
- entropy of the n-grams of all continuations together, in nats; repetition, the share of 4-grams that occurred before
  in the same continuation; distinct, the share of different ones among all 3-grams.
- held-out NLL: the run's own policy, on the real continuations, with ``<bkspc>`` in its softmax, as it is sampled; and
  given that it does not delete, without.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os.path import commonprefix
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from sequencematch import core
from sequencematch.data.tokenizer import Tokenizer, pretrained_tokenizer
from sequencematch.errors import UserError
from sequencematch.model.build import load_policy, new_policy
from sequencematch.model.network_files import digest_of
from sequencematch.model.policy import Policy
from sequencematch.results.sound import sound
from sequencematch.sampling.decoding import too_many
from sequencematch.sampling.rollout import eos_ids
from sequencematch.settings.model import Model
from sequencematch.store.files import read_json_lines
from sequencematch.store.provenance_schema import read_facts

ENTROPY_NGRAMS = (1, 2, 3)
MAUVE_SEED = 25  # of its clustering; the package's own default
MAUVE_PER_CLUSTER = 10  # samples, as its authors advise
MAUVE_SAMPLES = 20  # fewer make less than two clusters, from which MAUVE cannot tell anything

Continuation = Sequence[int]


@dataclass(frozen=True)
class Judge:
    """A model that reads continuations; ``encode`` turns the run's prompt and continuation into ids of ``policy``."""

    name: str
    description: str
    policy: Policy
    encode: Callable[[Sequence[int], Continuation], tuple[Sequence[int], Continuation]]


def trained_judge(folder: Path, run: Path) -> Judge:
    """A model folder of the same task as judge of the model in folder ``run``. It reads the same tokens."""
    policy, _ = load_policy(folder, backspace=False)
    facts = read_facts(folder, "make the model again", "seed", "stage.loss")
    of_run = read_facts(run, "make the model again", "seed")
    seed, own, loss = facts["seed"], of_run["seed"], facts["stage"]["loss"].upper()
    whose = "the run's own, the only seed" if seed == own else f"not the run's own, {own}"
    description = f"the {loss} model of seed {seed} ({whose}) on the same data"
    return Judge(str(folder), description, policy, lambda prompt, continuation: (prompt, continuation))


def pretrained_judge(source: str, tokenizer: Tokenizer) -> Judge:
    """A causal LM, by hub name or path, as judge: it reads what ``tokenizer`` decodes, in tokens of its own."""
    own = pretrained_tokenizer(source)
    policy = new_policy(Model(source=source), 0, {}, backspace=False, seed=0)

    def encode(prompt, continuation):
        """One text, cut where the prompt ends. A token across that place, or a character, is the continuation's."""
        before, whole = tokenizer.decode(prompt), tokenizer.decode([*prompt, *continuation])
        tokens = own.encode_with_ends(whole)
        kept = len(commonprefix([before, whole]))  # noqa: RUF071 (texts, compared character by character)
        given = sum(end <= kept for _, end in tokens)
        ids = [token for token, _ in tokens]
        return [own.special_ids["bos"], *ids[:given]], ids[given:]

    return Judge(source, f"{source}, per token of its own tokenizer", policy, encode)


@dataclass(frozen=True)
class Reading:
    """What a model computes for N continuations.

    nll: float64 [N], negative log-likelihood summed over a continuation's tokens, in nats. tokens: int64 [N]. features:
    float32 [N, d], the last hidden states averaged over the continuation; for an empty one, the state at the end of its
    prompt.
    """

    nll: np.ndarray
    tokens: np.ndarray
    features: np.ndarray

    @property
    def mean(self) -> float | None:
        """NLL per token over all continuations; None if they have no token."""
        return float(self.nll.sum() / self.tokens.sum()) if self.tokens.any() else None

    @property
    def means(self) -> list[float | None]:
        """NLL per token of each continuation; None for an empty one."""
        return [float(nll / n) if n else None for nll, n in zip(self.nll, self.tokens, strict=True)]


@torch.no_grad()
def read(
    policy: Policy, prompts: Sequence[Sequence[int]], continuations: Sequence[Continuation], batch: int
) -> Reading:
    """Read continuations after their prompts with a policy, ``batch`` at a time.

    Likelihoods are those of the policy that is sampled: ``<bkspc>`` is in the softmax if the policy has it and a token
    of the continuation is live. Raises UserError if a prompt and its continuation exceed the policy's context.
    """
    policy.eval()
    texts = zip(prompts, continuations, strict=True)
    rows = [[core.Trajectory(prompt=prompt, actions=text, imitated=[True] * len(text))] for prompt, text in texts]
    longest = max(len(row.prompt) + len(row.actions) for (row,) in rows)
    if longest > policy.context:
        raise UserError(
            f"the judge's context of {policy.context} tokens is too short for a text of {longest}: "
            "name another judge (evaluation.judge), or shorten the continuations"
        )
    nll, features = [], []
    for start in range(0, len(rows), batch):
        inputs, (states,) = core.state_tree(rows[start : start + batch], policy.bkspc)
        hidden = policy.encode(inputs.to(policy.device))
        # One text at a time, because the logits of all would fill the memory.
        for (row,), nodes, found in zip(rows[start : start + batch], states.state, hidden, strict=True):
            n = len(row.actions)
            kept = found[nodes[: n + 1]]
            logits = policy.logits(kept[:n], len(row.prompt) - 1 + torch.arange(n, device=kept.device))
            ruled_out = too_many(torch.arange(n, device=kept.device), policy.deletions)
            logits[:, policy.bkspc :].masked_fill_(ruled_out, -torch.inf)
            actions = torch.tensor(row.actions, dtype=torch.long, device=kept.device)[:, None]
            nll.append(-logits.log_softmax(-1).gather(1, actions).double().sum().item())
            features.append(kept[min(n, 1) :].float().mean(0).cpu().numpy())
    return Reading(np.array(nll), np.array([len(row.actions) for (row,) in rows]), np.stack(features))


def ngrams(tokens: Continuation, n: int) -> list[tuple[int, ...]]:
    """The n-grams of a continuation, in order."""
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def entropy(continuations: Sequence[Continuation], n: int) -> float:
    """Entropy of the distribution of n-grams over all continuations, in nats; 0 where there are none."""
    counts = Counter(gram for tokens in continuations for gram in ngrams(tokens, n))
    total = counts.total()
    return sum(count / total * math.log(total / count) for count in counts.values())


def repetition(continuations: Sequence[Continuation], n: int = 4) -> float:
    """Share of n-grams that occurred before in the same continuation; 0 where there are none."""
    grams = [ngrams(tokens, n) for tokens in continuations]
    return 1 - sum(len(set(g)) for g in grams) / total if (total := sum(map(len, grams))) else 0.0


def distinct(continuations: Sequence[Continuation], n: int = 3) -> float:
    """Different n-grams over all continuations, as a share of all their n-grams; 0 where there are none."""
    grams = [gram for tokens in continuations for gram in ngrams(tokens, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def mauve_score(real: np.ndarray, sampled: np.ndarray) -> float:
    """MAUVE in (0, 1] between two sets of features [N, d], its clustering from a fixed seed."""
    import faiss
    import mauve

    # Otherwise faiss warns of fewer points than it wants in a cluster.
    with patch("faiss.Kmeans", partial(faiss.Kmeans, min_points_per_centroid=1)):
        clusters = round(len(real) / MAUVE_PER_CLUSTER)
        found = mauve.compute_mauve(p_features=real, q_features=sampled, num_buckets=clusters, seed=MAUVE_SEED)
    return float(found.mauve)


def measures(continuations: Sequence[Continuation], reading: Reading) -> dict:
    """The numbers of a set of continuations that need no comparison with another set."""
    return {
        "perplexity": None if reading.mean is None else math.exp(reading.mean),
        "entropy": {str(n): entropy(continuations, n) for n in ENTROPY_NGRAMS},
        "repetition": repetition(continuations),
        "distinct": distinct(continuations),
        "per_example": {"nll": reading.means},
    }


def read_actions(path: Path, examples: int) -> dict[str, list[list[int]]]:
    """The actions in samples.jsonl by decoding and example. UserError unless every decoding answers each example."""
    found: dict[str, dict[int, list[int]]] = {}
    with sound(path, f"samples of the {examples} examples", "sample again"):
        for _, record in read_json_lines(path, "sample again"):
            found.setdefault(record["decoding"], {})[record["example"]] = record["actions"]
        if not found or any(len(samples) != examples for samples in found.values()):
            raise ValueError("some lack an answer")
        return {name: [samples[i] for i in range(examples)] for name, samples in found.items()}


def judge_run(
    judge: Judge,
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    real: Sequence[Continuation],
    sampled: dict[str, list[list[int]]],
    batch: int,
) -> dict:
    """The content of judged.json: the held-out loss of the run's ``policy``, and measures of what it ``sampled``.

    The held-out loss is given twice: for the policy that is sampled, and given that the policy does not delete
    (``<bkspc>`` left out of the softmax). The second favours a policy that uses ``<bkspc>``.

    real: the continuations of the prompts. sampled: by decoding, the actions taken after each prompt. The tokens that
    they leave live are judged up to the length of the real continuation, without ``<eos>``.
    """

    def read_by_judge(continuations: Sequence[Continuation]) -> Reading:
        questions, answers = zip(*map(judge.encode, prompts, continuations), strict=True)
        return read(judge.policy, questions, answers, batch)

    held_out, reference = read(policy, prompts, real, batch), read_by_judge(real)
    given_no_deletion = held_out
    if policy.backspace:
        policy.backspace = False
        given_no_deletion = read(policy, prompts, real, batch)
        policy.backspace = True
    eos, decodings = eos_ids(policy), {}
    for name, actions in sampled.items():
        live = (core.live_tokens(p, a, policy.bkspc) for p, a in zip(prompts, actions, strict=True))
        continuations = [[t for t in text if t not in eos][: len(r)] for text, r in zip(live, real, strict=True)]
        reading = read_by_judge(continuations)
        mauve = mauve_score(reference.features, reading.features) if len(real) >= MAUVE_SAMPLES else None
        decodings[name] = {**measures(continuations, reading), "mauve": mauve}
    description = f"Perplexity is under {judge.description}; " + (
        f"MAUVE compares its last hidden states, averaged over each continuation's tokens, of {len(real)} sampled and "
        f"as many real ones in {round(len(real) / MAUVE_PER_CLUSTER)} clusters."
        if len(real) >= MAUVE_SAMPLES
        else f"there is no MAUVE, which needs at least {MAUVE_SAMPLES} continuations, and there are {len(real)}."
    )
    files = {"files": digest_of(judge.policy.origin)} if judge.policy.origin else {}
    return {
        "judge": {"model": judge.name, "description": description} | files,
        "held_out": {"nll": held_out.mean, "per_example": held_out.means},
        "held_out_given_no_deletion": {"nll": given_no_deletion.mean, "per_example": given_no_deletion.means},
        "decodings": decodings,
        "reference": measures(real, reference),
    }
