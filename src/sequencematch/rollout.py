"""Trajectories drawn from a policy, many at a time, with backspaces that cost no forward pass.

Every forward pass pushes one token in every row. Between two of them each row draws actions until one
of them is a push: a pop only goes back to a state whose hidden state is kept (``cache.StateCache``),
from which the row draws again at once. Rows that end make room for waiting prompts.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sequencematch.cache import StateCache
from sequencematch.decoding import NO_SURPRISE, Decoding, action_probabilities, inverse_cdf
from sequencematch.errors import UserError
from sequencematch.policy import Policy
from sequencematch.seeding import generator


@dataclass(frozen=True)
class Perturbation:
    """A disturbance of decoding: a drawn token that is among its prompt's ``candidates`` (ascending, each once)
    is, with probability ``rate``, replaced by another of them before it is pushed: by any of them alike, or, where
    ``likely``, as likely as the policy finds them.
    """

    rate: float
    candidates: Sequence[Sequence[int]]
    likely: bool = False

    def replaced(self, action: int, item: int, chance: float, choice: float, logits: Tensor) -> int:
        """What is pushed for ``action`` after prompt ``item``, decided by two uniform numbers in [0, 1).

        logits: float32 [A], the policy's in that state.
        """
        candidates = self.candidates[item]
        place, others = bisect_left(candidates, action), len(candidates) - 1
        among = place <= others and candidates[place] == action
        if chance >= self.rate or not among or not others:
            return action
        if self.likely:
            remaining = torch.tensor([*candidates[:place], *candidates[place + 1 :]], device=logits.device)
            cumulated = logits[remaining].double().softmax(-1).cumsum(-1)
            return int(remaining[min(int((cumulated <= choice * cumulated[-1]).sum()), others - 1)])
        other = int(choice * others)
        return candidates[other + (other >= place)]


@dataclass(frozen=True)
class Rollout:
    """The actions taken after a prompt and what was begun (``<eos>`` included), and whether ``<eos>`` was among them.

    ``log_policy[t]`` is log pi(a_t|s_t) of the policy itself, before anything in ``Decoding`` and before
    ``<bkspc>`` is ruled out at the prompt: what ``core.Scores.log_policy`` is, at the time of sampling.
    """

    actions: list[int]
    finished: bool
    log_policy: list[float]


@dataclass
class Counts:
    """What a call of ``sample`` did.

    prefills: forward passes over prompts and what was begun; forwards: all others; tokens: tokens fed to these
    others, over all rows; pushes, pops: actions taken. Each push is fed once, save one that ends its trajectory
    (``<eos>``, or the last action allowed), and pops are never fed, so that always
    ``tokens == pushes - (trajectories whose last action is a push)``.
    """

    prefills: int = 0
    forwards: int = 0
    tokens: int = 0
    pushes: int = 0
    pops: int = 0


def sample(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    streams: Sequence[int],
    batch: int,
    perturbation: Perturbation | None = None,
    progress: Callable[[int], object] | None = None,
    watch: Callable[[int, int], object] | None = None,
    begun: Sequence[Sequence[int]] | None = None,
) -> tuple[list[Rollout], Counts]:
    """One rollout per prompt, in the prompts' order, at most ``batch`` of them side by side.

    streams: a seed per prompt. Action t of prompt k is decided by the t-th number of
    ``generator(streams[k])``, so rollouts depend neither on ``batch`` nor on the other prompts (save
    where rounding in a batched product tips a draw). ``progress(n)`` is called as n more rollouts end,
    ``watch(k, action)`` as each action of prompt k is taken. The policy is left in the mode (training, gradient
    checkpointing) it was found in.

    begun: tokens pushed after each prompt by others than the policy. They are live, so that the policy may take
    them back, but no actions of its own: neither ``Rollout``, ``Counts`` nor ``max_actions`` counts them.

    Raises UserError where a prompt, what was begun and ``max_actions`` exceed the policy's context; ValueError for
    an empty prompt, a beginning with ``<bkspc>`` in it, or other numbers of streams or beginnings than of prompts.
    """
    begun = [()] * len(prompts) if begun is None else begun
    for what, values in (("streams", streams), ("beginnings", begun)):
        if len(values) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts need as many {what}, not {len(values)}")
    _check(policy, prompts, begun, decoding)
    sampler = _Sampler(policy, prompts, begun, decoding, streams, batch, perturbation, watch)
    rollouts: dict[int, Rollout] = {}
    with _inference(policy):
        while sampler.active or sampler.waiting:
            sampler.admit()
            ended = sampler.act()
            for row in ended:
                rollouts[row.item] = Rollout(row.actions, row.finished, row.log_policy)
            if progress is not None and ended:
                progress(len(ended))
    return [rollouts[k] for k in range(len(prompts))], sampler.counts


def _check(
    policy: Policy, prompts: Sequence[Sequence[int]], begun: Sequence[Sequence[int]], decoding: Decoding
) -> None:
    for k, (prompt, beginning) in enumerate(zip(prompts, begun, strict=True)):
        if not len(prompt):
            raise ValueError("a rollout needs at least one prompt token (<bos>): its first state")
        if policy.bkspc in beginning:
            raise ValueError("what was begun holds live tokens alone, no <bkspc>")
        if (length := len(prompt) + len(beginning)) + decoding.max_actions > policy.context:
            raise UserError(
                f"prompt {k} ({length} tokens) and max_actions ({decoding.max_actions}) exceed the "
                f"model's context of {policy.context} tokens: lower max_actions, or shorten the prompt"
            )


@contextmanager
def _inference(policy: Policy) -> Iterator[None]:
    """Evaluation mode, no gradients, no gradient checkpointing (which would bypass the cache)."""
    training = policy.training
    checkpointed: list[Any] = [m for m in policy.modules() if getattr(m, "gradient_checkpointing", False)]
    policy.eval()
    for module in checkpointed:
        module.gradient_checkpointing = False
    try:
        with torch.no_grad():
            yield
    finally:
        policy.train(training)
        for module in checkpointed:
            module.gradient_checkpointing = True


@dataclass
class _Row:
    """A trajectory under way.

    boundary: position of the prompt's last token; depth: of the last live one; uniform, disturbance: the
    random numbers of each action, and of each replacement; written: log pi of each live token after the prompt.
    """

    item: int
    boundary: int
    depth: int
    uniform: list[float]
    disturbance: list[list[float]]
    written: list[float]
    actions: list[int] = field(default_factory=list)
    log_policy: list[float] = field(default_factory=list)
    finished: bool = False


class _Sampler:
    """Rows under way (``active[i]`` is row i of the cache), and prompts that wait for a place.

    ``texts``: the prompts with what was begun after them.
    """

    def __init__(self, policy, prompts, begun, decoding, streams, batch, perturbation, watch=None):
        self.policy = policy
        self.prompts = prompts
        self.texts = [[*prompt, *beginning] for prompt, beginning in zip(prompts, begun, strict=True)]
        self.decoding = decoding
        self.streams = streams
        self.perturbation = perturbation
        self.watch = watch
        self.active: list[_Row] = []
        self.waiting = list(range(len(prompts)))[::-1]  # taken from the end
        self.batch = min(batch, len(prompts))
        self.counts = Counts()
        self.bkspc, self.eos = policy.bkspc, eos_ids(policy)
        longest = max(map(len, self.texts), default=0)
        self.cache = StateCache(policy, self.batch, longest + decoding.max_actions)

    def admit(self) -> None:
        """Prefill free rows with waiting prompts in one forward pass, once a quarter of the batch is free."""
        free = min(self.batch - len(self.active), len(self.waiting))
        if not free or (self.active and free < min(self.batch // 4, len(self.waiting))):
            return
        first = len(self.active)
        items = [self.waiting.pop() for _ in range(free)]
        self.active += map(self._begin, items)
        longest = max(len(self.texts[k]) for k in items)
        # What fills short texts up is never seen: any token will do.
        token = self._tensor([[*self.texts[k], *[0] * (longest - len(self.texts[k]))] for k in items])
        position = torch.arange(longest, device=token.device).expand_as(token)
        self.cache.push(slice(first, first + free), token, position)
        self.counts.prefills += 1

    def _begin(self, item: int) -> _Row:
        boundary, depth = len(self.prompts[item]) - 1, len(self.texts[item]) - 1
        n, stream = self.decoding.max_actions, self.streams[item]
        uniform = generator(stream).random(n, dtype=np.float32).tolist()
        disturbance = generator(stream, "perturbation").random((n, 2)).tolist() if self.perturbation else []
        return _Row(item, boundary, depth, uniform, disturbance, [0.0] * (depth - boundary))

    def act(self) -> list[_Row]:
        """Every row draws up to its next push, which is then fed; returns the rows that ended."""
        ended: list[int] = []
        drawing = list(range(len(self.active)))
        while drawing:
            popped = []
            for i, action, log_policy in zip(drawing, *self._draw(drawing), strict=True):
                row = self.active[i]
                row.actions.append(action)
                row.log_policy.append(log_policy)
                if self.watch is not None:
                    self.watch(row.item, action)
                row.finished = action in self.eos
                pop = action == self.bkspc
                row.depth += -1 if pop else 1
                row.written[len(row.written) - pop :] = [] if pop else [log_policy]
                self.counts.pops += pop
                self.counts.pushes += not pop
                if row.finished or len(row.actions) == self.decoding.max_actions:
                    ended.append(i)
                elif pop:
                    popped.append(i)
            drawing = popped
        rows = [self.active[i] for i in ended]
        self._close(ended)
        self._feed()
        return rows

    def _draw(self, rows: list[int]) -> tuple[list[int], list[float]]:
        """The next action of each of these rows, and its log pi(a|s)."""
        drawing = [self.active[i] for i in rows]
        logits = self.cache.logits(self._tensor(rows), self._tensor([row.depth for row in drawing]))
        at_prompt = self._tensor([row.depth == row.boundary for row in drawing])
        uniform = self._tensor([row.uniform[len(row.actions)] for row in drawing], torch.float64)
        if not logits.amax(-1).isfinite().all():
            raise UserError("the policy's logits are not finite: training diverged, lower learning_rate")
        surprise = NO_SURPRISE
        if self.decoding.surprise or self.decoding.takeback:
            surprise = self._tensor([-(row.written or [0.0])[-1] for row in drawing], logits.dtype)
        action = inverse_cdf(action_probabilities(logits, at_prompt, self.decoding, surprise), uniform).tolist()
        if self.perturbation:
            action = [
                self.perturbation.replaced(a, row.item, *row.disturbance[len(row.actions)], logits=state)
                for a, row, state in zip(action, drawing, logits, strict=True)
            ]
        log_policy = logits.gather(1, self._tensor(action)[:, None])[:, 0] - logits.logsumexp(-1)
        return action, log_policy.tolist()

    def _close(self, ended: list[int]) -> None:
        """Drop rows, and move the last ones into the gaps: active rows stay the first of the cache."""
        remaining = len(self.active) - len(ended)
        gaps = [i for i in ended if i < remaining]
        last = sorted(set(range(remaining, len(self.active))) - set(ended))
        if gaps:
            self.cache.move(last, gaps)
            for source, target in zip(last, gaps, strict=True):
                self.active[target] = self.active[source]
        del self.active[remaining:]

    def _feed(self) -> None:
        """One forward pass over the token that each active row has just pushed."""
        if not self.active:
            return
        token = self._tensor([row.actions[-1:] for row in self.active])
        self.cache.push(slice(len(self.active)), token, self._tensor([[row.depth] for row in self.active]))
        self.counts.forwards += 1
        self.counts.tokens += len(token)

    def _tensor(self, values: list, dtype: torch.dtype | None = None) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=self.policy.device)


def eos_ids(policy: Policy) -> set[int]:
    """The ids that end a trajectory (some models have several)."""
    eos = policy.lm.config.eos_token_id
    return {eos} if isinstance(eos, int) else set(eos or ())
