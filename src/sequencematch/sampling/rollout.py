"""Trajectories drawn from a policy, many at a time, with backspaces that cost no forward pass.

Every forward pass pushes one token in every row. Between two passes, each row draws actions until one of them is a
push. A pop, of one token or several, only goes back to a state whose hidden state is kept (``cache.StateCache``), and
the row draws again from that state. A policy that keeps deletions (``Policy.keep``) feeds them as it does tokens. Rows
that end make room for waiting prompts.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sequencematch.core import growth
from sequencematch.errors import UserError
from sequencematch.model.cache import StateCache
from sequencematch.model.policy import Policy, id_set
from sequencematch.sampling.decoding import NOTHING, Decoding, action_probabilities, inverse_cdf, too_many
from sequencematch.sampling.lookahead import FEW, Lookahead
from sequencematch.seeding import generator, uniforms


@dataclass(frozen=True)
class Perturbation:
    """A perturbation of decoding: drawn tokens are replaced by wrong ones before they are pushed.

    With probability ``rate``, a drawn token that is among its prompt's ``candidates`` (ascending, each once) is
    replaced by another candidate. All others are equally likely or, with ``likely``, as likely as the policy finds
    them.
    """

    rate: float
    candidates: Sequence[Sequence[int]]
    likely: bool = False

    def replaced(self, action: int, item: int, chance: float, choice: float, logits: Tensor) -> int:
        """What is pushed for ``action`` after prompt ``item``, by two numbers in [0, 1); logits: the policy's, [A]."""
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
    """The actions that a policy took after a prompt (``<eos>`` included), and whether ``<eos>`` was among them.

    ``log_policy[t]`` is log pi(a_t|s_t) of the policy itself, without the changes that ``Decoding`` makes. It equals
    ``core.Scores.log_policy`` at the time of sampling, so the deletion of more tokens than are live is ruled out.
    """

    actions: list[int]
    finished: bool
    log_policy: list[float]


@dataclass
class Counts:
    """What a call of ``sample`` did.

    Each push is fed once, unless it ends its trajectory (``<eos>``, or the last action allowed). Pops are fed only if
    they are kept. Otherwise ``tokens == pushes - (trajectories whose last action is a push)``.
    """

    prefills: int = 0  # forward passes over prompts and given beginnings
    forwards: int = 0  # all other forward passes
    tokens: int = 0  # fed to these others, over all rows
    pushes: int = 0  # actions taken
    pops: int = 0


def sample(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    streams: Sequence[int],
    batch: int,
    perturbation: Perturbation | None = None,
    watch: Callable[[int, int], object] | None = None,
    begun: Sequence[Sequence[int]] | None = None,
    forced: Sequence[Sequence[int]] | None = None,
) -> tuple[list[Rollout], Counts]:
    """One rollout per prompt, in the prompts' order, with at most ``batch`` trajectories at a time.

    streams: a seed per prompt. Action t of prompt k is decided by the t-th number of stream ``streams[k]``
    (``seeding.uniforms``). So rollouts depend neither on ``batch`` nor on the other prompts, unless rounding in a
    batched product changes a draw. ``watch(k, action)`` is called for each action of prompt k. The policy's mode
    (training, gradient checkpointing) is restored at the end.

    begun: for each prompt, tokens that are pushed after it before the policy acts. They are live, so the policy may
    delete them. They are not actions of the policy: ``Rollout``, ``Counts`` and ``max_actions`` do not count them.

    forced: the forced prefix of each rollout, its first actions, which are pushed whatever the policy prefers. They
    count as actions, and rules that delete unlikely tokens apply to them.

    Raises UserError if a prompt, its beginning and ``max_actions`` together exceed the policy's context. Raises
    ValueError for an empty prompt, for a beginning that contains ``<bkspc>``, and if there are not as many streams or
    beginnings as prompts.
    """
    begun = [()] * len(prompts) if begun is None else begun
    for what, values in (("streams", streams), ("beginnings", begun)):
        if len(values) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts need as many {what}, not {len(values)}")
    if decoding.lookahead and policy.history != "erase":
        raise UserError("lookahead does not fit a model that keeps deleted tokens: choose another decoding")
    for k, (prompt, beginning) in enumerate(zip(prompts, begun, strict=True)):
        if not len(prompt):
            raise ValueError("a rollout needs at least one prompt token (<bos>): its first state")
        if max(beginning, default=0) >= policy.bkspc:
            raise ValueError("beginnings must hold live tokens only, no <bkspc>")
        if (length := len(prompt) + len(beginning)) + decoding.max_actions > policy.context:
            raise UserError(
                f"prompt {k} ({length} tokens) and max_actions ({decoding.max_actions}) exceed the "
                f"model's context of {policy.context} tokens: lower max_actions, or shorten the prompt"
            )
    sampler = _Sampler(policy, prompts, begun, decoding, streams, batch, perturbation, watch, forced)
    rollouts: dict[int, Rollout] = {}
    with _inference(policy):
        while sampler.active or sampler.waiting:
            sampler.admit()
            rollouts |= sampler.act()
    return [rollouts[k] for k in range(len(prompts))], sampler.counts


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


class _Sampler:
    """The trajectories under way. Row i of every array, and of the cache, is one of them, for i below ``active``.

    item: index of the prompt; boundary: position of its last token; depth: position of the last live token; first:
    place in the cache of the state before the first action; taken: number of actions so far; all int64 [batch]. action,
    log_policy: the actions taken, [batch, max_actions]. uniform, perturbation_draws: the random numbers of each action,
    and of each replacement. written, lag: log pi of each live token after the prompt, and how far it was below the
    likeliest token's; both are kept only if the decoding needs them, and are 0 for tokens of ``begun``. live: the live
    tokens after the prompt; deleted: what was deleted after the first n of them, by n (both with ``memory`` alone).
    ``texts``: the prompts, each with its given beginning.
    """

    def __init__(self, policy, prompts, begun, decoding, streams, batch, perturbation, watch=None, forced=None):
        self.policy, self.prompts, self.begun, self.decoding = policy, prompts, begun, decoding
        self.streams, self.perturbation, self.watch, self.forced = streams, perturbation, watch, forced
        self.texts = [[*prompt, *beginning] for prompt, beginning in zip(prompts, begun, strict=True)]
        self.by_ratio = bool(decoding.takeback_ratio or decoding.takeback_any_ratio)
        self.by_rule = bool(decoding.takeback or decoding.lookahead) or self.by_ratio
        self.active = 0
        self.waiting = list(range(len(prompts)))[::-1]  # taken from the end
        self.batch = min(batch, len(prompts))
        self.counts = Counts()
        self.bkspc = policy.bkspc
        self.final = np.zeros(self.bkspc + policy.deletions, bool)  # which actions end a trajectory
        self.final[list(eos_ids(policy))] = True
        shape = self.batch, decoding.max_actions
        self.item, self.boundary, self.depth, self.first, self.taken = np.zeros((5, self.batch), np.int64)
        self.action, self.log_policy, self.uniform = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape)
        self.perturbation_draws = np.zeros((*shape, 2) if perturbation else (self.batch, 0))
        self.written = np.zeros((self.batch, max(map(len, begun), default=0) + decoding.max_actions))
        self.lag = np.zeros_like(self.written)
        self.live = np.zeros(self.written.shape, np.int64)
        self.deleted, self.ahead = np.empty((2, self.batch), object)
        numbers = (self.item, self.boundary, self.depth, self.first, self.taken)
        drawn = self.action, self.log_policy, self.uniform, self.perturbation_draws
        self.arrays = (*numbers, *drawn, self.written, self.lag, self.live, self.deleted, self.ahead)
        self.cache = StateCache(policy, self.batch, max(map(len, self.texts), default=0) + decoding.max_actions)

    def admit(self) -> None:
        """Prefill free rows with waiting prompts in one forward pass, once a quarter of the batch is free."""
        free = min(self.batch - self.active, len(self.waiting))
        if not free or (self.active and free < min(self.batch // 4, len(self.waiting))):
            return
        items = [self.waiting.pop() for _ in range(free)]
        rows = slice(self.active, self.active + free)
        self._begin(rows, items)
        longest = max(len(self.texts[k]) for k in items)
        # Padding of short texts is never seen, so it may be any token.
        token = self._tensor([[*self.texts[k], *[0] * (longest - len(self.texts[k]))] for k in items])
        self.cache.push(rows, token, token.new_zeros(free))
        self.active += free
        self.counts.prefills += 1

    def _begin(self, rows: slice, items: list[int]) -> None:
        self.item[rows], self.taken[rows], self.written[rows], self.lag[rows] = items, 0, 0, 0
        self.boundary[rows] = [len(self.prompts[k]) - 1 for k in items]
        self.depth[rows] = self.first[rows] = [len(self.texts[k]) - 1 for k in items]
        n, streams = self.decoding.max_actions, [self.streams[k] for k in items]
        self.uniform[rows] = uniforms(streams, n)
        for row, k in enumerate(items, rows.start):
            self.live[row, : len(self.begun[k])], self.deleted[row] = self.begun[k], defaultdict(list)
            self.ahead[row] = Lookahead(self.decoding.lookahead)
        if self.perturbation:
            self.perturbation_draws[rows] = [generator(stream, "perturbation").random((n, 2)) for stream in streams]

    def act(self) -> dict[int, Rollout]:
        """Draw in every row up to its next push, and feed the pushes. Returns the rollouts that ended, by prompt."""
        ended = np.zeros(self.active, bool)
        drawing = np.arange(self.active)
        while len(drawing):
            action = self._draw(drawing)
            pop = action >= self.bkspc
            self.depth[drawing] += np.where(pop, self.bkspc - 1 - action, 1)
            pops = int(pop.sum())
            self.counts.pops += pops
            self.counts.pushes += len(pop) - pops
            over = self.final[action] | (self.taken[drawing] == self.decoding.max_actions)
            ended[drawing[over]] = True
            drawing = drawing[(action >= self.policy.inputs) & ~over]
        rows = np.flatnonzero(ended)
        finished = self.final[self.action[rows, self.taken[rows] - 1]]
        columns = (self.item[rows], self.taken[rows], self.action[rows], finished, self.log_policy[rows])
        rollouts = {
            item: Rollout(action[:taken], finished, log_policy[:taken])
            for item, taken, action, finished, log_policy in zip(*(c.tolist() for c in columns), strict=True)
        }
        self._close(ended)
        self._feed()
        return rollouts

    def _draw(self, rows: np.ndarray) -> np.ndarray:
        """The next action of each of these rows. It is recorded with its log pi(a|s)."""
        depth, taken = self.depth[rows], self.taken[rows]
        live = depth - self.boundary[rows]
        logits = self.cache.preferences(self._tensor(rows), self._tensor(self._places(rows)))
        ruled_out = too_many(self._tensor(live), self.policy.deletions)
        logits[:, self.bkspc :].masked_fill_(ruled_out, -torch.inf)
        surprise, lag = NOTHING, NOTHING
        if self.decoding.surprise or self.decoding.takeback:
            surprise = -self._of_last(self.written, rows, live)
        if self.decoding.takeback_ratio:
            lag = self._of_last(self.lag, rows, live)
        elif self.decoding.takeback_any_ratio:
            of_live = np.arange(self.lag.shape[1]) < live[:, None]
            lag = self._tensor(np.where(of_live, self.lag[rows], 0).max(1).astype(np.float32))
        if self.decoding.lookahead:
            drawn = self._tensor(self._looked_ahead(rows, live, logits))
        else:
            allowed = self._without_deleted(rows, live, logits) if self.decoding.memory else logits
            probability = action_probabilities(allowed, ruled_out, self.decoding, surprise, lag)
            drawn = inverse_cdf(probability, self._tensor(self.uniform[rows, taken]))
        if self.forced:
            # First the actions of the forced prefix, then those drawn.
            places = zip(drawn.tolist(), self.item[rows].tolist(), taken.tolist(), strict=True)
            prefixes = [(self.forced[item], t, action) for action, item, t in places]
            drawn = self._tensor([prefix[t] if t < len(prefix) else action for prefix, t, action in prefixes])
        if self.perturbation:
            drawn = self._tensor(self._perturbed(rows, drawn.tolist(), logits))
        log_policy = logits.log_softmax(-1).gather(1, drawn[:, None])[:, 0].cpu().numpy()
        action = drawn.cpu().numpy()
        pop = action >= self.bkspc
        # A rule may delete a token although the policy has no <bkspc>.
        if not np.isfinite(log_policy[~pop] if self.by_rule else log_policy).all():
            raise UserError("the policy's logits are not finite: training diverged, lower learning_rate")
        self.written[rows[~pop], live[~pop]] = log_policy[~pop]
        if self.by_ratio:
            lag = logits[:, : self.bkspc].amax(-1) - logits.gather(1, drawn[:, None])[:, 0]
            self.lag[rows[~pop], live[~pop]] = lag.cpu().numpy()[~pop]
        self.action[rows, taken], self.log_policy[rows, taken] = action, log_policy
        self.taken[rows] += 1
        if self.decoding.memory:
            self._remember(rows, live, action)
        if self.watch is not None:
            for item, a in zip(self.item[rows].tolist(), action.tolist(), strict=True):
                self.watch(item, a)
        return action

    def _places(self, rows: np.ndarray) -> np.ndarray:
        """Where the cache holds the states of these rows: by live tokens or, where deletions are kept, by actions."""
        return self.depth[rows] if self.policy.history == "erase" else self.first[rows] + self.taken[rows]

    def _looked_ahead(self, rows: np.ndarray, live: np.ndarray, logits: Tensor) -> list[int]:
        """The action of each of these rows: the best token in its state, or the deletion of one that is not."""
        few = logits.log_softmax(-1)[:, : self.bkspc].topk(min(FEW, self.bkspc))
        kept = self.cache.stays(self._tensor(rows), self._tensor(self._places(rows))).tolist()
        last = np.where(self.taken[rows] > 0, self.action[rows, self.taken[rows] - 1], -1)
        actions = []
        found = zip(rows, live, last, kept, few.indices.tolist(), few.values.tolist(), strict=True)
        for row, n, token, stay, *likeliest in found:
            ahead, written = self.ahead[row], 0 <= token < self.bkspc
            if token < self.bkspc:  # no deletion, which leads back to what is known
                ahead.arrive(n, *likeliest)
            stays = not written or ahead.stays(n, token, self.written[row, n - 1] + stay)
            actions.append(ahead.best(n) if stays else self.bkspc)
        return actions

    def _of_last(self, values: np.ndarray, rows: np.ndarray, live: np.ndarray) -> Tensor:
        """The entry of ``values`` for the last live token of each of these rows, 0 where no token is live."""
        return self._tensor(np.where(live > 0, values[rows, live - 1], 0).astype(np.float32))

    def _without_deleted(self, rows: np.ndarray, live: np.ndarray, logits: Tensor) -> Tensor:
        """The logits float32 [n, A], -inf at tokens that were deleted in the state of these rows."""
        gone = [(k, a) for k, (row, n) in enumerate(zip(rows, live, strict=True)) for a in self.deleted[row][n]]
        return logits.index_put(self._tensor(gone).unbind(1), logits.new_tensor(-torch.inf)) if gone else logits

    def _remember(self, rows: np.ndarray, live: np.ndarray, action: np.ndarray) -> None:
        """Keep what is deleted now, and forget it of states that are left for good: what led to them is ruled out."""
        for row, n, a in zip(rows, live, action, strict=True):
            if a >= self.bkspc:
                n += growth(a, self.bkspc)
                self.deleted[row][n].append(self.live[row, n])
            else:
                self.live[row, n] = a
                self.deleted[row].pop(n + 1, None)

    def _perturbed(self, rows: np.ndarray, drawn: list[int], logits: Tensor) -> list[int]:
        perturbation_draws = self.perturbation_draws[rows, self.taken[rows]].tolist()
        acts = zip(drawn, self.item[rows].tolist(), perturbation_draws, logits, strict=True)
        return [self.perturbation.replaced(action, item, *numbers, state) for action, item, numbers, state in acts]

    def _close(self, ended: np.ndarray) -> None:
        """Drop rows, and move the last ones into the gaps: active rows stay the first."""
        self.active -= int(ended.sum())
        gaps = np.flatnonzero(ended[: self.active])
        last = self.active + np.flatnonzero(~ended[self.active :])
        if len(gaps):
            self.cache.move(self._tensor(last), self._tensor(gaps))
            for array in self.arrays:
                array[gaps] = array[last]

    def _feed(self) -> None:
        """One forward pass over the token that each active row has just pushed."""
        if not self.active:
            return
        rows = np.arange(self.active)
        token = self.action[rows, self.taken[rows] - 1]
        places = self._places(rows)
        position = self.depth[rows] if self.policy.history == "rewind" else places
        self.cache.push(
            slice(self.active), self._tensor(token)[:, None], self._tensor(places), self._tensor(position)[:, None]
        )
        self.counts.forwards += 1
        self.counts.tokens += self.active

    def _tensor(self, values: np.ndarray | list) -> Tensor:
        return torch.as_tensor(values, device=self.policy.device)


def eos_ids(policy: Policy) -> set[int]:
    """The ids that end a trajectory (some models have several)."""
    return id_set(policy.lm.config.eos_token_id)
