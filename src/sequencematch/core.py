"""The method: masking (state tree, Algorithm 2) and objective, as pure functions of lists and tensors.

The core knows nothing of models, files or settings. A batch goes through it in three steps:

1. *Masking.* ``state_tree`` (ours, one node per pushed token) or ``algorithm_2`` (the paper's, one
   position per action) turns action sequences into ``Inputs`` for a network and ``StateIndex`` that
   say which input position holds the state of each action.
2. *Scores.* The network's logits at the input positions become ``Scores`` of a trajectory:
   ``l(a_i|s_i)`` and ``V(s_i) = logsumexp_a l(a|s_i)`` (``score``).
3. *Objective.* ``behavioural_cloning``, ``sequence_match`` and ``unlikelihood`` turn scores into sums
   over trajectories; ``Normaliser`` says what these sums are divided by: every trajectory counts the same.

Symbols follow the paper: ``s`` state (live tokens), ``a`` action, ``l`` logits, ``V`` value,
``r = alpha (l - gamma V')`` reward, ``eta`` noise level. An action is a token id below ``bkspc`` (the size of the
vocabulary), or ``bkspc + k - 1``, the deletion of k tokens: the paper's ``<bkspc>`` is k = 1, D.5 names the others.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# --------------------------------------------------------------------------------------------------
# 1. Masking: action sequences -> network inputs (appendix A)
# --------------------------------------------------------------------------------------------------


def growth(action: int, bkspc: int) -> int:
    """By how many tokens an action lengthens the live text: 1 for a token, -k for the deletion of k tokens."""
    return 1 if action < bkspc else bkspc - 1 - action


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One trajectory: a prompt, the actions taken after it, and which of them are imitated.

    ``actions`` holds token ids and deletions; ``imitated[i]`` is False where action i is a
    perturbation of the environment (an injected wrong token), not a choice of the expert.
    ``ended`` is True where the last action leads to the absorbing state (``<eos>``), and False where the
    trajectory was cut off: a rollout at its bound on actions, a passage of text.
    """

    prompt: Sequence[int]
    actions: Sequence[int]
    imitated: Sequence[bool]
    ended: bool = True


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a causal network reads, B sequences padded to L positions.

    token, position: int64 [B, L]. The attention mask is in one of two forms:
    - ``end``, int64 [B, L] (state tree): position i attends to j exactly when ``j <= i < end[j]``;
    - ``mask``, bool [B, L, L] (Algorithm 2): position i attends to j where ``mask[i, j]``.

    Neither is needed for plain causal attention: if nothing was deleted and all rows begin at the same position.
    """

    token: Tensor
    position: Tensor
    end: Tensor | None = None
    mask: Tensor | None = None

    def dense_mask(self) -> Tensor:
        """The attention mask as bool [B, L, L], whatever the form."""
        if self.mask is not None:
            return self.mask
        if self.end is None:
            return torch.arange(int(self.position.max()) + 1, device=self.token.device) <= self.position[..., None]
        i = torch.arange(self.token.shape[1], device=self.token.device)
        return (i[None, None, :] <= i[None, :, None]) & (i[None, :, None] < self.end[:, None, :])

    def to(self, device: torch.device) -> "Inputs":
        """The same on ``device``."""
        end, mask = (t if t is None else t.to(device) for t in (self.end, self.mask))
        return Inputs(token=self.token.to(device), position=self.position.to(device), end=end, mask=mask)


@dataclass(frozen=True, kw_only=True)
class StateIndex:
    """The input positions of the states of B trajectories, padded to T actions.

    state: int64 [B, T+1], input position of s_0 .. s_N (s_N repeated as padding). action: int64 [B, T], token ids and
    deletions (0 as padding). taken: bool [B, T], True where i < N. imitated: bool [B, T], True where action i is the
    expert's own (False on padding). ended: bool [B], True where s_N is the absorbing state.
    """

    state: Tensor
    action: Tensor
    taken: Tensor
    imitated: Tensor
    ended: Tensor

    def to(self, device: torch.device) -> "StateIndex":
        """The same on ``device``."""
        return type(self)(**{name: t.to(device) for name, t in vars(self).items()})

    def live(self, bkspc: int) -> Tensor:
        """int64 [B, T+1]: live tokens after the prompt; the deletion of more tokens is ruled out."""
        change = torch.where(self.action < bkspc, 1, bkspc - 1 - self.action) * self.taken
        return F.pad(change.cumsum(1), (1, 0))


class PromptIndex(StateIndex):
    """The states of prompts, in which no token can be deleted."""

    def live(self, bkspc: int) -> Tensor:
        """int64 [B, T+1]: no token of a prompt can be deleted."""
        return torch.zeros_like(self.state)


class _Tree:
    """The state tree of one sequence under construction: nodes in push order, and a stack of them."""

    def __init__(self, prompt: Sequence[int]):
        self.prompt_length = len(prompt)
        self.token = list(prompt)
        self.position = list(range(len(prompt)))
        self.end: list[int | None] = [None] * len(prompt)  # None while the node is live
        self.stack = list(range(len(prompt)))

    def walk(self, actions: Sequence[int], bkspc: int) -> list[int]:
        """Take the actions; return the nodes of the states s_0 .. s_N."""
        token, position, end, stack = self.token, self.position, self.end, self.stack
        state = [stack[-1]]
        for action in actions:
            if action < bkspc:
                position.append(len(stack))
                stack.append(len(token))
                token.append(action)
                end.append(None)
            else:
                self.pop_to(len(stack) + growth(action, bkspc))
            state.append(stack[-1])
        return state

    def pop_to(self, left: int) -> None:
        """Pop all nodes of the stack but the first ``left``. Raises ValueError for a node of the prompt."""
        if left < self.prompt_length:
            raise ValueError("<bkspc> cannot remove a prompt token")
        for node in self.stack[left:]:
            self.end[node] = len(self.token)
        del self.stack[left:]


def state_tree(rows: Sequence[Sequence[Trajectory]], bkspc: int, pad: int = 0) -> tuple[Inputs, list[StateIndex]]:
    """Encode rows of K trajectories that share a prompt, one node per pushed token.

    Each row lists its trajectories (data alone, or data and rollout); the k-th of every row come back
    as ``StateIndex`` k. Between two trajectories the stack is popped back to the prompt, so the
    prompt is encoded once. A node's state never changes, so ``<bkspc>`` adds no node: the action
    after it is taken in the state of a node that exists already. Given a ``bkspc`` above all actions, deletions are
    pushed like tokens: they are kept.

    Raises ValueError where trajectories of a row differ in prompt, the prompt is empty, or
    ``<bkspc>`` would remove a prompt token.
    """
    trees, walks = [], []
    for row in rows:
        tree = _Tree(_shared_prompt(row))
        states = []
        for trajectory in row:
            tree.pop_to(tree.prompt_length)
            states.append(tree.walk(trajectory.actions, bkspc))
        trees.append(tree)
        walks.append(states)
    length = max(len(tree.token) for tree in trees)
    inputs = Inputs(
        token=_padded([tree.token for tree in trees], length, pad),
        position=_padded([tree.position for tree in trees], length),
        # A live node is seen by all that follow; padding (end 0) is seen by none.
        end=_padded([[length if e is None else e for e in tree.end] for tree in trees], length),
    )
    return inputs, _trajectories(rows, walks)


def algorithm_2(rows: Sequence[Trajectory], bkspc: int, pad: int = 0) -> tuple[Inputs, StateIndex]:
    """Encode trajectories as the paper does (appendix A): one input position per action.

    At a ``<bkspc>`` the input is a copy of the token that becomes the last live one, at that token's
    position id, and from there on both the deleted token and the original are masked out. ``y`` is
    implied: the action taken at input position t is the input at t + 1. The printed position ids start at
    1; ours start at 0. O(L^2) memory, where the state tree needs one integer per token.
    """
    length = max(len(row.prompt) + len(row.actions) for row in rows)
    token = torch.full((len(rows), length), pad)
    position = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.eye(length, dtype=torch.bool).repeat(len(rows), 1, 1)
    states = []
    for b, row in enumerate(rows):
        live: list[int] = []  # input positions of the live tokens; its last two are the paper's c and d
        for i, action in enumerate([*_shared_prompt([row]), *row.actions]):
            if action >= bkspc:
                if (left := len(live) + growth(action, bkspc)) < len(row.prompt):
                    raise ValueError("<bkspc> cannot remove a prompt token")
                original = live[left - 1]
                del live[left - 1 :]
                token[b, i], position[b, i] = token[b, original], position[b, original]
            else:
                token[b, i], position[b, i] = action, len(live)
            live.append(i)
            mask[b, i, live] = True
        first = len(row.prompt) - 1
        states.append([list(range(first, first + len(row.actions) + 1))])
    return Inputs(token=token, position=position, mask=mask), _trajectories([[row] for row in rows], states)[0]


def live_tokens(prompt: Sequence[int], actions: Sequence[int], bkspc: int) -> list[int]:
    """The completion that the actions leave, without the prompt, computed by a plain stack machine."""
    live: list[int] = []
    for action in actions:
        if action < bkspc:
            live.append(action)
        elif (left := len(live) + growth(action, bkspc)) >= 0:
            del live[left:]
        else:
            raise ValueError("<bkspc> cannot remove a prompt token")
    return live


def _shared_prompt(row: Sequence[Trajectory]) -> Sequence[int]:
    prompt = row[0].prompt
    if not len(prompt):
        raise ValueError("a trajectory needs at least one prompt token (<bos>): its first state")
    if any(list(trajectory.prompt) != list(prompt) for trajectory in row):
        raise ValueError("trajectories encoded as one state tree must share their prompt")
    return prompt


def _padded(rows: Sequence[Sequence[int]], length: int, value: int = 0) -> Tensor:
    lengths = np.array([len(row) for row in rows])
    table = np.full((len(rows), length), value)
    table[np.arange(length) < lengths[:, None]] = np.fromiter(chain.from_iterable(rows), np.int64, lengths.sum())
    return torch.from_numpy(table)


def _trajectories(rows: Sequence[Sequence[Trajectory]], states: Sequence[Sequence[list[int]]]) -> list[StateIndex]:
    """StateIndex k of all rows, for each k; ``states[b][k]`` holds s_0 .. s_N of row b's k-th."""
    batches = []
    for column, walks in zip(zip(*rows, strict=True), zip(*states, strict=True), strict=True):
        longest = max(len(t.actions) for t in column)
        batches.append(
            StateIndex(
                state=_padded([walk + [walk[-1]] * (longest + 1 - len(walk)) for walk in walks], longest + 1),
                action=_padded([t.actions for t in column], longest),
                taken=_padded([[1] * len(t.actions) for t in column], longest).bool(),
                imitated=_padded([t.imitated for t in column], longest).bool(),
                ended=torch.tensor([t.ended for t in column]),
            )
        )
    return batches


def prompt_index(rows: Sequence[Sequence[Trajectory]]) -> PromptIndex:
    """The prompts of encoded rows as trajectories of their own: from ``<bos>``, every further token is imitated.

    ``<bkspc>`` is no action in their states. For losses on whole passages (appendix E masks the prompt of arithmetic
    alone). Both encodings put a row's prompt into its first input positions.
    """
    prompts = [row[0].prompt for row in rows]
    as_trajectories = [
        [Trajectory(prompt=p[:1], actions=p[1:], imitated=[True] * (len(p) - 1), ended=False)] for p in prompts
    ]
    return PromptIndex(**vars(_trajectories(as_trajectories, [[list(range(len(p)))] for p in prompts])[0]))


# --------------------------------------------------------------------------------------------------
# 2. Scores: logits at the input positions -> l(a_i|s_i) and V(s_i) along a trajectory (section 3.2)
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Along B trajectories of at most T actions, in float32 or better.

    logit: [B, T], l(a_i|s_i); mean_logit: [B, T], the mean of l(.|s_i) over the vocabulary, deletions left out;
    value: [B, T+1], V(s_0) .. V(s_N), with V(s_N) repeated as padding;
    taken, imitated: bool [B, T], ended: bool [B], as in ``StateIndex``.
    """

    logit: Tensor
    mean_logit: Tensor
    value: Tensor
    taken: Tensor
    imitated: Tensor
    ended: Tensor

    @property
    def log_policy(self) -> Tensor:
        """log pi(a_i|s_i) = l(a_i|s_i) - V(s_i), [B, T]."""
        return self.logit - self.value[:, :-1]


def logsumexp(logits: Tensor) -> Tensor:
    """log sum_a exp l_a over the last dimension, from log pi of the likeliest action: V = l - log pi.

    torch.logsumexp calls exp and log of MKL, whose last bits differ between makers of CPUs; log_softmax does not
    (``kernels.py``). It takes no longer.
    """
    return logits.amax(-1) - F.log_softmax(logits, dim=-1).amax(-1)


def score(logits: Tensor, states: StateIndex, deletions: int = 1) -> Scores:
    """Gather l(a_i|s_i) and V(s_i) from logits [B, L, A] at the input positions.

    The last ``deletions`` of the A actions delete 1, 2, ... tokens. The deletion of more tokens than are live is no
    action, so V leaves it out. Each position's logsumexp is taken once, however many actions were taken in its state.
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    bkspc = logits.shape[-1] - deletions
    # V where 0, 1, ... tokens may be deleted, [B, L, deletions + 1].
    values = torch.stack([logsumexp(logits[..., : bkspc + k]) for k in range(deletions + 1)], dim=-1)
    rows = torch.arange(len(logits), device=logits.device)[:, None]
    state = states.state
    return Scores(
        logit=logits[rows, state[:, :-1], states.action],
        mean_logit=logits[..., :bkspc].mean(-1)[rows, state[:, :-1]],
        value=values[rows, state, states.live(bkspc).clamp_max(deletions)],
        taken=states.taken,
        imitated=states.imitated,
        ended=states.ended,
    )


# --------------------------------------------------------------------------------------------------
# 3. Objective (sections 3.2, 3.3; appendices C, D)
# --------------------------------------------------------------------------------------------------

LOG_2 = math.log(2)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The constants of J: divergence, alpha (entropy weight), gamma (discount), weighting of transitions.

    ``discounted`` weighs transition i by gamma^i, as derived; the value bracket then telescopes to
    V(s_0). ``uniform`` gives every transition the same weight, as inverse-soft-Q code does; it does not telescope.
    ``value_from`` says on which trajectories the value bracket is estimated: ``data`` (any occupancy serves, C.3),
    or ``both``, half on data and half on rollouts, as C.5 prints it: the same expectation with more noise.
    c and beta_mix split the quadratic of the chi2-mixture (D.4); js_delta is where js turns straight.

    Raises ValueError for uniform weights with ``value_from`` data: there the two halves differ in expectation.
    """

    divergence: str = "chi2_mixture"
    alpha: float = 0.03
    gamma: float = 0.95
    weighting: str = "discounted"
    c: float = 0.5
    beta_mix: float = 0.5
    js_delta: float = 0.01
    value_from: str = "data"

    def __post_init__(self):
        if self.weighting == "uniform" and self.value_from == "data":
            raise ValueError("uniform weights need value_from 'both': with them the value bracket does not telescope")

    @property
    def data_share(self) -> float:
        """The share of the value bracket that is estimated on data; the rest is estimated on rollouts."""
        return 1.0 if self.value_from == "data" else 0.5

    def phi(self, r: Tensor) -> Tensor:
        """The function phi of the divergence, elementwise. It is 0 at 0."""
        return DIVERGENCES[self.divergence](r, self)

    @property
    def rollout_penalty(self) -> float:
        """Weight of r^2 on the model's own trajectories: c (1 - beta_mix) for the chi2-mixture, else 0."""
        return self.c * (1 - self.beta_mix) if self.divergence == "chi2_mixture" else 0.0


def phi_kl(x: Tensor, objective: Objective) -> Tensor:
    """f = t log t - (t - 1); phi(x) = 1 - exp(-x) (D.2).

    Where the exponent exceeds 20, phi continues as its tangent, because one bad transition would overflow the sum.
    """
    bound = -20.0
    inside = x.clamp_min(bound)
    return 1 - torch.exp(-inside) + math.exp(-bound) * (x - inside)


def phi_js(x: Tensor, objective: Objective) -> Tensor:
    """f = t log t - (t+1) log((t+1)/2); phi(x) = log(2 - exp(-x)) (D.3).

    phi is -inf at x <= -log 2; below x_0 = -log 2 + delta it continues as its tangent at x_0 (G.1).
    """
    x_0 = -LOG_2 + objective.js_delta
    slope = math.exp(-x_0) / (2 - math.exp(-x_0))
    inside = x.clamp_min(x_0)
    return torch.log(2 - torch.exp(-inside)) + slope * (x - inside)


def phi_chi2(x: Tensor, objective: Objective) -> Tensor:
    """f = (t-1)^2; phi(x) = x - x^2 / 4 (D.4)."""
    return x - x**2 / 4


def phi_chi2_mixture(x: Tensor, objective: Objective) -> Tensor:
    """chi2 against the mixture of data and model: c beta_mix r^2 here, c (1 - beta_mix) r^2 on rollouts (D.4)."""
    return x - objective.c * objective.beta_mix * x**2


def phi_mle(x: Tensor, objective: Objective) -> Tensor:
    """phi(x) = x: the limit alpha -> 0 of every divergence (D.2)."""
    return x


DIVERGENCES: dict[str, Callable[[Tensor, Objective], Tensor]] = {
    "kl": phi_kl,
    "js": phi_js,
    "chi2": phi_chi2,
    "chi2_mixture": phi_chi2_mixture,
    "mle": phi_mle,
}


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """The divisors of the sums over an effective batch, by which every trajectory counts the same.

    trajectories: data trajectories in the batch, over all of its micro-batches and processes; there are as many
    rollouts. length, cloned: mean number of actions, and of actions that BC imitates, of a *training* trajectory. They
    are constants of a run, and only set the scale: a divisor that followed the lengths of the batch would give short
    trajectories more weight. model_transitions: actions of the batch's rollouts, which uniform weights average over.
    """

    trajectories: int
    length: float
    cloned: float
    model_transitions: int = 0

    @property
    def data(self) -> float:
        """The divisor of sums over data trajectories."""
        return self.trajectories * self.length

    @property
    def cloning(self) -> float:
        """The divisor of the BC loss."""
        return self.trajectories * self.cloned

    def model(self, weighting: str) -> float:
        """The divisor of sums over rollouts.

        With uniform weights, sums become a mean per transition. With discounted weights, the divisor is that of the
        data, so that the two halves of the value bracket cancel where they start in the same state.
        """
        return self.model_transitions if weighting == "uniform" else self.data


def rewards(scores: Scores, objective: Objective) -> Tensor:
    """r(s_i, a_i) = alpha (l(a_i|s_i) - gamma V(s_{i+1})), [B, T+1]; 0 on padding.

    The last column is the absorbing state's own reward, alpha (1 - gamma) V(s_N); ``transition_weights`` leaves it
    out where the trajectory was cut off.
    """
    a, g = objective.alpha, objective.gamma
    r = a * (scores.logit - g * scores.value[:, 1:])
    r = torch.where(scores.taken, r, 0.0)
    return torch.cat([r, a * (1 - g) * scores.value[:, -1:]], dim=1)


def value_differences(scores: Scores, objective: Objective) -> Tensor:
    """V(s_i) - gamma V(s_{i+1}), [B, T+1]; 0 on padding; the last column is the absorbing state's."""
    g = objective.gamma
    steps = torch.where(scores.taken, scores.value[:, :-1] - g * scores.value[:, 1:], 0.0)
    return torch.cat([steps, (1 - g) * scores.value[:, -1:]], dim=1)


def transition_weights(scores: Scores, objective: Objective) -> Tensor:
    """Weight of each transition and, in the last column, of the absorbing state; [B, T+1], 0 on padding.

    Discounted: gamma^i, and the geometric tail gamma^N / (1 - gamma). Uniform: 1, and 1. A trajectory that was cut
    off does not end in the absorbing state: it has no tail.
    """
    taken, ended = scores.taken.to(scores.value.dtype), scores.ended[:, None].to(scores.value.dtype)
    if objective.weighting == "uniform":
        return torch.cat([taken, ended], dim=1)
    g = objective.gamma
    steps = torch.arange(taken.shape[1], dtype=taken.dtype, device=taken.device)
    tail = ended * g ** taken.sum(1, keepdim=True) / (1 - g)
    return torch.cat([taken * g**steps, tail], dim=1)


def behavioural_cloning(scores: Scores, smoothing: float = 0.0) -> Tensor:
    """- sum of log pi(a_i|s_i) over imitated actions: BC on noised data, MLE on clean data.

    smoothing: the share of each target that is spread evenly over the vocabulary (label smoothing; not in the paper).
    """
    log_policy = scores.log_policy
    if smoothing:
        log_policy = torch.lerp(log_policy, scores.mean_logit - scores.value[:, :-1], smoothing)
    return -torch.where(scores.imitated, log_policy, 0.0).sum()


def data_objective(scores: Scores, objective: Objective) -> Tensor:
    """The data part of J, summed: sum w_i phi(r_i)/alpha - share * sum w_i (V(s_i) - gamma V(s_{i+1})).

    ``share`` is 1, or 1/2 where rollouts estimate the other half (``value_from``). Actions that are not imitated leave
    both sums: phi's, and (with weight 1, whatever the share) the value bracket, so that alpha -> 0 leaves exactly
    behavioural cloning.
    """
    weights = transition_weights(scores, objective)
    chosen = torch.cat([scores.imitated, torch.ones_like(scores.imitated[:, :1])], dim=1)
    # r is masked before phi: behind phi, the gradient of an infinite logit would be NaN. phi(0) = 0.
    phi = objective.phi(torch.where(chosen, rewards(scores, objective), 0.0)) / objective.alpha
    values = value_differences(scores, objective)
    perturbed = torch.where(chosen, 0.0, values)
    return (weights * (phi - objective.data_share * values + perturbed)).sum()


def rollout_objective(scores: Scores, objective: Objective) -> Tensor:
    """The model part of J, summed: - share * sum w_i (V(s_i) - gamma V(s_{i+1})) - c (1-beta)/alpha sum w_i r_i^2.

    ``share`` is 0, or 1/2 (``value_from``). A trajectory starts after its prompt: prompt positions are in neither sum.
    """
    weights = transition_weights(scores, objective)
    penalty = objective.rollout_penalty / objective.alpha * rewards(scores, objective) ** 2
    return -(weights * ((1 - objective.data_share) * value_differences(scores, objective) + penalty)).sum()


def sequence_match(data: Scores, model: Scores, objective: Objective, normaliser: Normaliser) -> Tensor:
    """The SequenceMatch loss, -J: data and model parts, each over its divisor (section 3.3, C.5)."""
    j = data_objective(data, objective) / normaliser.data
    return -(j + rollout_objective(model, objective) / normaliser.model(objective.weighting))


def repeated_ngrams(states: StateIndex, n: int) -> Tensor:
    """bool [B, T]: actions that belong to an n-gram that occurred before in the same trajectory (H.1)."""
    action, taken = states.action, states.taken
    repeated = torch.zeros_like(taken)
    if action.shape[1] < n:
        return repeated
    grams = action.unfold(1, n, 1)
    same = (grams[:, :, None] == grams[:, None, :]).all(-1)
    again = torch.tril(same, diagonal=-1).any(-1) & taken[:, n - 1 :]  # the n-gram that begins here
    for offset in range(n):
        repeated[:, offset : offset + again.shape[1]] |= again
    return repeated


def unlikelihood(scores: Scores, repeated: Tensor) -> Tensor:
    """Sequence-level unlikelihood on rollouts: - sum log(1 - pi(c|s)) over repeated actions c (H.1).

    H.1 prints the negative sum of probabilities, which is least where the model repeats. This is the loss of the work
    that H.1 cites.
    """
    probability = scores.log_policy.exp().clamp_max(1 - 1e-6)
    return -torch.where(repeated, torch.log1p(-probability), 0.0).sum()
