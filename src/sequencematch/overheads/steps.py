"""The cost of a gradient step and of a generation: the rows of the paper's tables 3 and 4.

A row is one way to do a step. All rows have the same network, optimiser and data. Our rows of MLE, BC and SequenceMatch
score their batch with the function that training calls. A step is timed in parts. For this, scores and hidden states
are cut from the graph, so that the backward pass runs in three pieces; a test shows that the gradients are equal. Data
and rollouts are random tokens with noise, because time does not depend on the tokens.
"""

import math
import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from time import perf_counter
from types import SimpleNamespace

import psutil
import torch

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.data.noise import inject
from sequencematch.model.build import new_policy, on_accelerator
from sequencematch.model.cache import StateCache
from sequencematch.model.policy import Policy
from sequencematch.sampling.decoding import Decoding, action_probabilities, inverse_cdf, too_many
from sequencematch.sampling.rollout import sample
from sequencematch.seeding import generator, stable_seed, uniforms
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.model import Model
from sequencematch.settings.overheads import Overhead, longest_rollout
from sequencematch.settings.training import Objective, Optimiser
from sequencematch.training.losses import FUNCTIONS, Scored, ScoredBatch, score_batch
from sequencematch.training.trainer import new_optimiser

SPECIAL_IDS = {"pad": 0, "bos": 1, "eos": 2}
# The weights hardly move: every repeat does the same work.
OPTIMISER = Optimiser(learning_rate=1e-6)
OBJECTIVE, BETA = Objective(), 0.2

Batch = Sequence[tuple[Trajectory, ...]]


@dataclass(frozen=True)
class Case:
    """Lengths of the sequences of a step in tokens, and how many there are."""

    prompt: int
    continuation: int
    batch: int

    @property
    def name(self) -> str:
        """The case in words, as tables name it."""
        return f"{self.prompt} + {self.continuation} tokens" + (f", batch {self.batch}" if self.batch > 1 else "")


@dataclass(frozen=True)
class Data:
    """The sequences of a case: data without noise and with it, and rollouts for the same prompts."""

    clean: Sequence[Trajectory]
    noised: Sequence[Trajectory]
    rollouts: Sequence[Trajectory]

    def rows(self, loss: str) -> Batch:
        """What a step of ``loss`` trains on."""
        data = self.noised if LOSSES[loss].noised else self.clean
        return list(zip(data, self.rollouts, strict=True)) if LOSSES[loss].rollouts else [(row,) for row in data]


def make_data(case: Case, vocabulary: int, bkspc: int, eta: float, pops: float) -> Data:
    """Random tokens: data, the same noised at level ``eta``, and rollouts, whose actions delete in a share ``pops``."""
    rng = generator("overhead", case.prompt, case.continuation, case.batch)
    first = len(SPECIAL_IDS)

    def tokens(length: int) -> list[int]:
        return rng.integers(first, vocabulary, length).tolist()

    def noised(prompt: list[int], level: float, imitated: bool) -> Trajectory:
        actions, expert = inject(tokens(case.continuation), level, lambda *_: tokens(1)[0], bkspc, rng)
        expert = expert if imitated else [True] * len(actions)
        return Trajectory(prompt=prompt, actions=actions, imitated=expert, ended=False)

    prompts = [[SPECIAL_IDS["bos"], *tokens(case.prompt - 1)] for _ in range(case.batch)]
    # n tokens with k repairs are n + 2k actions.
    return Data(
        clean=[noised(prompt, 0, True) for prompt in prompts],
        noised=[noised(prompt, eta, True) for prompt in prompts],
        rollouts=[noised(prompt, pops / (1 - 2 * pops), False) for prompt in prompts],
    )


def tree_tokens(row: Sequence[Trajectory], bkspc: int) -> int:
    """Positions of a row as one state tree: a prompt, and a node for each pushed token."""
    return len(row[0].prompt) + sum(action != bkspc for trajectory in row for action in trajectory.actions)


def separate_tokens(row: Sequence[Trajectory], bkspc: int) -> int:
    """Positions of a row whose trajectories are encoded as separate state trees."""
    return sum(tree_tokens([trajectory], bkspc) for trajectory in row)


def copied_tokens(row: Sequence[Trajectory], bkspc: int) -> int:
    """Positions of its trajectories in the form of Algorithm 2: a copied token for each ``<bkspc>``."""
    return sum(len(trajectory.prompt) + len(trajectory.actions) for trajectory in row)


def score_copies(policy: Policy, rows: Batch) -> ScoredBatch:
    """As in the paper: Algorithm 2 and its dense masks, data and rollouts in two batches, all logits at once."""
    encoded = (core.algorithm_2(column, policy.bkspc) for column in zip(*rows, strict=True))
    return ScoredBatch(*(_score_dense(policy, inputs, states) for inputs, states in encoded))


def score_trees(policy: Policy, rows: Batch) -> ScoredBatch:
    """As ``score_copies``, with state trees instead of Algorithm 2."""
    encoded = [core.state_tree([(row,) for row in column], policy.bkspc) for column in zip(*rows, strict=True)]
    return ScoredBatch(*(_score_dense(policy, inputs, *states) for inputs, states in encoded))


def _score_dense(policy: Policy, inputs: core.Inputs, states: core.StateIndex) -> Scored:
    inputs, states = inputs.to(policy.device), states.to(policy.device)
    logits = policy.logits(policy.encode(inputs), inputs.position)
    return Scored(states, core.score(logits, states))


@dataclass(frozen=True)
class Row:
    """A loss, how its batch is encoded and scored, and how its rollouts are drawn (None: it has none)."""

    loss: str
    score: Callable[[Policy, Batch], ScoredBatch]
    tokens: Callable[[Sequence[Trajectory], int], int]
    sample: Callable | None = None


@torch.no_grad()
def sample_recomputing(
    policy: Policy, prompts: Sequence[Sequence[int]], decoding: Decoding, streams: Sequence[int]
) -> list[list[int]]:
    """The actions that ``rollout.sample`` draws, with a cache that cannot rewind single rows, as that of transformers.

    So wherever a row deletes a token, the live tokens of all rows are read again.
    """
    live = [list(prompt) for prompt in prompts]
    uniform = uniforms(streams, decoding.max_actions)
    rows, device = torch.arange(len(prompts)), policy.device
    actions: list[list[int]] = [[] for _ in prompts]
    again = True
    for step in range(decoding.max_actions):
        depth = torch.tensor([len(tokens) - 1 for tokens in live])
        if again:
            longest = int(depth.max()) + 1
            cache = StateCache(policy, len(prompts), max(map(len, prompts)) + decoding.max_actions)
            token = torch.tensor([[*tokens, *[0] * (longest - len(tokens))] for tokens in live])
            first = torch.zeros_like(depth)
        else:
            token, first = torch.tensor([tokens[-1:] for tokens in live]), depth
        cache.push(slice(len(prompts)), token.to(device), first.to(device))
        logits = cache.preferences(rows.to(device), depth.to(device))
        written = torch.tensor([len(t) - len(p) for t, p in zip(live, prompts, strict=True)], device=device)
        chance = torch.tensor(uniform[:, step], dtype=torch.float64, device=device)
        likely = action_probabilities(logits, too_many(written, policy.deletions), decoding)
        drawn = inverse_cdf(likely, chance).tolist()
        for tokens, taken, action in zip(live, actions, drawn, strict=True):
            taken.append(action)
            if action < policy.bkspc:
                tokens.append(action)
            else:
                del tokens[core.growth(action, policy.bkspc) :]
        again = max(drawn) >= policy.bkspc
    return actions


def sample_rewinding(policy: Policy, prompts, decoding: Decoding, streams) -> list[list[int]]:
    """Rollouts as training draws them."""
    rollouts, _ = sample(policy, prompts, decoding, streams, batch=len(prompts))
    return [rollout.actions for rollout in rollouts]


score_apart = partial(score_batch, share_prompts=False, imitate_prompt=False)
score_shared = partial(score_batch, share_prompts=True, imitate_prompt=False)
ROWS = {
    "mle": Row("mle", score_apart, separate_tokens),
    "bc": Row("bc", score_apart, separate_tokens),
    "bc_paper": Row("bc", score_copies, copied_tokens),
    "sm_paper": Row("sm", score_copies, copied_tokens, sample_recomputing),
    "sm_tree": Row("sm", score_trees, separate_tokens, sample_recomputing),
    "sm": Row("sm", score_apart, separate_tokens, sample_rewinding),
    "sm_shared": Row("sm", score_shared, tree_tokens, sample_rewinding),
}


@contextmanager
def cut_off(policy: Policy) -> Iterator[SimpleNamespace]:
    """Cut the network's outputs from the rest of the graph. Gradients gather at the leaves that replace them.

    Yields ``outputs``, ``leaves`` (tensors), the ``seconds`` of the forward pass, and ``positions``, padding included.
    """
    network, decoder = SimpleNamespace(outputs=[], leaves=[], seconds=0.0, positions=0), policy.lm.get_decoder()

    def before(module, args):
        network.seconds -= now(policy)

    def after(module, args, output):
        hidden = output.last_hidden_state
        leaf = hidden.detach().requires_grad_()
        network.outputs.append(hidden)
        network.leaves.append(leaf)
        network.positions += leaf.shape[0] * leaf.shape[1]
        output.last_hidden_state = leaf
        network.seconds += now(policy)
        return output

    with decoder.register_forward_pre_hook(before), decoder.register_forward_hook(after):
        yield network


def normaliser_of(rows: Batch) -> core.Normaliser:
    """The normaliser of a batch that is the whole training data."""
    data, *model = [sum(len(trajectory.actions) for trajectory in column) for column in zip(*rows, strict=True)]
    n, length = len(rows), data / len(rows)
    return core.Normaliser(trajectories=n, length=length, cloned=length, model_transitions=sum(model))


def now(policy: Policy) -> float:
    """The time in seconds, after the device has finished its work."""
    if policy.device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


@dataclass
class Bench:
    """A network and its optimiser, on which the steps and generations of all rows are timed."""

    policy: Policy
    optimiser: torch.optim.Optimizer
    settings: Overhead
    model: Model

    def data(self, case: Case) -> Data:
        """Random trajectories of the case's size."""
        bkspc = self.policy.bkspc
        return make_data(case, bkspc, bkspc, self.settings.eta, self.settings.pops)

    def step(self, row: Row, data: Data) -> dict[str, float]:
        """One gradient step of a row, and the seconds of its parts; ``positions`` counts padding too.

        network: the forward and backward pass up to the hidden states. scores: from there to l(a|s) and V(s), with the
        encoding of the rows. objective: from there to the loss. optimiser: clipping and AdamW. ``step`` is their sum.
        """
        policy, optimiser, bfloat16 = self.policy, self.optimiser, self.model.precision == "bfloat16"
        policy.backspace = LOSSES[row.loss].backspace
        start = now(policy)
        optimiser.zero_grad()
        rows = data.rows(row.loss)
        with cut_off(policy) as network, torch.autocast(policy.device.type, torch.bfloat16, enabled=bfloat16):
            scored = row.score(policy, rows)
        columns = [scored.data] if scored.rollouts is None else [scored.data, scored.rollouts]
        tensors = [tensor for s in columns for tensor in (s.scores.logit, s.scores.value)]
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        pairs = zip(columns, leaves[::2], leaves[1::2], strict=True)
        cut = [replace(s, scores=replace(s.scores, logit=logit, value=value)) for s, logit, value in pairs]
        scored_at = now(policy)
        loss, _ = FUNCTIONS[row.loss](ScoredBatch(*cut), normaliser_of(rows), OBJECTIVE, BETA)
        loss.backward()
        matched_at = now(policy)
        torch.autograd.backward(tensors, [leaf.grad for leaf in leaves])
        projected_at = now(policy)
        torch.autograd.backward(network.outputs, [leaf.grad for leaf in network.leaves])
        propagated_at = now(policy)
        torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], OPTIMISER.clip).item()
        optimiser.step()
        end = now(policy)
        return {
            "step": end - start,
            "network": network.seconds + propagated_at - projected_at,
            "scores": (scored_at - start - network.seconds) + (projected_at - matched_at),
            "objective": matched_at - scored_at,
            "optimiser": end - propagated_at,
            "positions": network.positions,
        }

    def generation(self, draw: Callable, case: Case) -> dict[str, float]:
        """Seconds that a generation of G rollouts takes, drawn as a row draws them (``Row.sample``)."""
        prompts = self.prompts(case)
        decoding = self.decoding(case, prompts)
        streams = [stable_seed("overhead", k) for k in range(len(prompts))]
        self.policy.eval()
        start = now(self.policy)
        draw(self.policy, prompts, decoding, streams)
        seconds = now(self.policy) - start
        self.policy.train()
        return {"generation": seconds}

    def prompts(self, case: Case) -> list[Sequence[int]]:
        """G prompts."""
        return [row.prompt for row in self.data(replace(case, batch=self.settings.generate)).clean]

    @torch.no_grad()
    def decoding(self, case: Case, prompts: Sequence[Sequence[int]]) -> Decoding:
        """A decoding that leaves as many tokens as the continuation has, with the given share of pops."""
        share, self.policy.backspace = self.settings.pops, True
        prompt = Trajectory(prompt=prompts[0], actions=(), imitated=())
        inputs = core.state_tree([[prompt]], self.policy.bkspc)[0].to(self.policy.device)
        logits = self.policy.logits(self.policy.encode(inputs), inputs.position)[0, -1]
        bias = logits[:-1].logsumexp(-1) - logits[-1] + math.log(share / (1 - share))
        return Decoding(longest_rollout(case.continuation, share), bkspc_bias=float(bias))


def new_bench(model: Model, settings: Overhead) -> Bench:
    """A network of the shape of ``model``, on the accelerator if there is one. No token ends a rollout early."""
    policy = on_accelerator(new_policy(model, settings.vocabulary, SPECIAL_IDS, backspace=True, seed=0))
    policy.lm.config.eos_token_id = None
    policy.train()
    return Bench(policy, new_optimiser(policy, OPTIMISER), settings, model)


TINY = Model(layers=1, width=8, heads=2), Overhead(), "sm", Case(2, 2, 1)


def peak_memory(model: Model, settings: Overhead, row: str, case: Case) -> int:
    """The most bytes that two steps of a row need, with weights, gradients and the optimiser's averages.

    On a GPU this is what torch allocated. Elsewhere it is the growth of a process forked after ``prepare_forks``.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        _two_steps(model, settings, row, case)
        return torch.cuda.max_memory_allocated()
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        return process.submit(_growth, model, settings, row, case).result()


def prepare_forks() -> None:
    """Load all code that a step needs, so that forked processes have it already.

    Call it before anything else is computed: it uses one thread, because other threads do not survive a fork.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _two_steps(*TINY)
    torch.set_num_threads(threads)


def _growth(model: Model, settings: Overhead, row: str, case: Case) -> int:
    _two_steps(*TINY)  # so that loading code does not count as growth
    before = psutil.Process().memory_info().rss
    _two_steps(model, settings, row, case)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def _two_steps(model: Model, settings: Overhead, row: str, case: Case) -> None:
    bench = new_bench(model, settings)
    data = bench.data(case)
    for _ in range(2):
        bench.step(ROWS[row], data)
