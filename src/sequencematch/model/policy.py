"""The policy: a causal language model, one more unembedding row for ``<bkspc>``, and an offset head.

The row stays out of the vocabulary's matrix (no resize, no misaligned products, adapters stay small):
its logit is one more column next to the vocabulary's. The offset head gives logits the freedom to move
together, which changes V and not the policy (appendix E). Hidden states are projected by ``logits``, in full, and
by ``score``, at the actions that were taken.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sequencematch.core import Inputs, Scores, StateIndex, Trajectory, state_tree
from sequencematch.data.tokenizer import learned_deletions
from sequencematch.errors import UserError
from sequencematch.model.attention import hidden_states
from sequencematch.model.projection import States, values_and_logits

Ids = int | Collection[int] | None  # token ids as configurations give them
OFFSET_WIDTH = 8  # hidden size of the offset head (appendix E)


class Policy(nn.Module):
    """pi(a|s) over the vocabulary and, where ``backspace`` is on, the deletions of 1 .. ``deletions`` tokens.

    ``bkspc``: the id of the first, which is the vocabulary's size; the others follow. ``bkspc_row``: their rows,
    [deletions, d], or [d] for one.

    ``context``: the longest sequence it takes, in tokens; at first what the network's configuration says. ``origin``:
    the files that a pretrained network was loaded from, by digest (``origin.network_files``). ``has_learned``: the
    network is an exported model's, whose last tokens are deletions: as many as they are, their rows become the
    policy's, and the vocabulary is again that of training. ``history``: what the network reads of deleted tokens
    (``keep``). ``head``: the deletion head of a frozen network, if it has one (``training.deletion_head``).
    """

    def __init__(self, lm, backspace: bool, deletions: int = 1):
        super().__init__()
        self.lm = lm
        self.backspace = backspace
        self.history = "erase"
        self.context: int = lm.config.max_position_embeddings
        self.origin: dict[str, str] = {}
        unembedding = lm.get_output_embeddings().weight.detach()
        # The mean of the old rows, as transformers starts new rows: <bkspc> is then no rival of the likely tokens.
        rows = unembedding.float().mean(0).repeat(deletions, 1)
        learned = learned_deletions(lm.config, len(unembedding))
        self.has_learned = learned > 0
        if learned:
            rows = unembedding[-learned:].float().clone()
            lm.resize_token_embeddings(len(unembedding) - learned)
            del lm.config.bkspc_token_id
        self.deletions = len(rows)
        self.bkspc = len(lm.get_output_embeddings().weight)  # the first id after the vocabulary's rows
        width = lm.config.hidden_size
        self.bkspc_row = nn.Parameter(rows[0] if len(rows) == 1 else rows)
        first, last = nn.Linear(width + 1, OFFSET_WIDTH), nn.Linear(OFFSET_WIDTH, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.offset = nn.Sequential(first, nn.GELU(), last).to(rows.device)
        self.head: nn.Sequential | None = None

    def add_head(self) -> None:
        """Add an untrained deletion head: b(s x) = sigmoid(MLP(h(s x))), about .12 at first. Lookahead reads it."""
        width = self.lm.config.hidden_size
        first, last = nn.Linear(width, width // 2), nn.Linear(width // 2, 1)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, -2.0)
        self.head = nn.Sequential(first, nn.GELU(), last).to(self.device)

    def stays(self, hidden: Tensor) -> Tensor:
        """log(1 - b), float32 [...], of the last tokens of states with hidden states [..., d]; 0 without a head."""
        if self.head is None:
            return hidden.new_zeros(hidden.shape[:-1], dtype=torch.float32)
        return F.logsigmoid(-self.head(hidden.float()))[..., 0]

    def keep(self, history: str) -> None:
        """Let every action be an input token, read by plain causal attention: deleted tokens stay visible.

        ``keep``: positions count actions. ``rewind``: they count live tokens, so a deletion has the position of the
        token that becomes the last live one. A deletion's embedding starts at the mean of the vocabulary's. Raises
        UserError for ``rewind`` in a network whose layers see a window of positions.
        """
        if history == "rewind" and getattr(self.lm.config, "sliding_window", None):
            raise UserError("positions that count live tokens do not fit a network with a sliding window: choose keep")
        embedding = self.lm.get_input_embeddings().weight.detach()
        self.history = history
        self.bkspc_input = nn.Parameter(embedding.float().mean(0).repeat(self.deletions, 1))

    @property
    def inputs(self) -> int:
        """Ids below this are inputs of the network: the vocabulary's, and those of deletions that are kept."""
        return self.bkspc + (0 if self.history == "erase" else self.deletions)

    def tree(self, rows: Sequence[Sequence[Trajectory]]) -> tuple[Inputs, list[StateIndex]]:
        """``core.state_tree`` of rows as this policy reads them. Kept deletions are pushed like tokens."""
        inputs, states = state_tree(rows, self.inputs)
        if self.history == "rewind":
            position = inputs.position.clone()
            for column in states:  # s_0 is at the prompt's last token
                position.scatter_(1, column.state, column.state[:, :1] + column.live(self.bkspc))
            inputs = replace(inputs, position=position)
        return inputs, states

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.bkspc_row.device

    @property
    def deletion_ids(self) -> list[int]:
        """The actions that delete 1, 2, ... tokens."""
        return list(range(self.bkspc, self.bkspc + self.deletions))

    def encode(self, inputs: Inputs, cache=None) -> Tensor:
        """Hidden states [B, L, d] at the input positions; ``cache`` as ``attention.hidden_states`` takes it."""
        return hidden_states(self.lm, inputs, cache, None if self.history == "erase" else self._embedded)

    def _embedded(self, token: Tensor) -> Tensor:
        """The embeddings [B, L, d] of tokens and deletions."""
        vocabulary = self.lm.get_input_embeddings()(token.clamp_max(self.bkspc - 1))
        kept = self.bkspc_input[(token - self.bkspc).clamp_min(0)].to(vocabulary.dtype)
        return torch.where((token < self.bkspc)[..., None], vocabulary, kept)

    def logits(self, hidden: Tensor, position: Tensor) -> Tensor:
        """l(a|s), float32 [..., A], A = vocabulary + deletions, at hidden states [..., d] of positions [...].

        The last columns are the deletions'; -inf where the policy has none.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            offset = self._offset(hidden.float(), position)
        return self.preferences(hidden) + offset[..., None]

    def preferences(self, hidden: Tensor) -> Tensor:
        """``logits`` less the offset of their state, which changes V(s) and not pi(a|s)."""
        head = self.lm.get_output_embeddings()
        with torch.autocast(hidden.device.type, enabled=False):  # V and r need the bits that bfloat16 drops
            vocabulary = head(hidden.to(head.weight.dtype)).float()
            bkspc = self._bkspc(hidden.float())
        return torch.cat([vocabulary, bkspc], dim=-1)

    def _bkspc(self, hidden: Tensor) -> Tensor:
        """The logits of the deletions before the offset, float32 [..., deletions]."""
        if not self.backspace:
            return hidden.new_full((*hidden.shape[:-1], self.deletions), -torch.inf)
        return torch.stack([hidden @ row for row in self.bkspc_row.view(self.deletions, -1)], dim=-1)

    def _offset(self, hidden: Tensor, position: Tensor) -> Tensor:
        """The offset of all logits of a state, float32 [...]."""
        # Position scaled to [0, 1], so that the head's input stays in range at any context length.
        scaled = (position.float() / self.context)[..., None]
        return self.offset(torch.cat([hidden, scaled], dim=-1))[..., 0]

    def score(self, inputs: Inputs, states: Sequence[StateIndex]) -> list[Scores]:
        """``core.score`` of the logits along trajectories over ``inputs``, computed at their states only, in chunks."""
        distinct = States.of(states, inputs.token.shape[1]).to(self.device)
        inputs = inputs.to(self.device)
        hidden = self.encode(inputs).flatten(0, 1)[distinct.node]
        head = self.lm.get_output_embeddings()
        with torch.autocast(hidden.device.type, enabled=False):
            exact = hidden.to(head.weight.dtype)
            value, logit = values_and_logits(exact, head.weight, head.bias, distinct.state, distinct.action)
            hidden = hidden.float()
            bkspc, offset = self._bkspc(hidden), self._offset(hidden, inputs.position.flatten()[distinct.node])
            if self.backspace:
                live = distinct.live(states, self.bkspc)
                for k, deletion in enumerate(bkspc.unbind(-1), start=1):
                    value = torch.where(live < k, value, torch.logaddexp(value, deletion))
            mean = hidden @ head.weight.float().mean(0) + offset + (0.0 if head.bias is None else head.bias.mean())
            deletion = bkspc[distinct.state, (distinct.action - self.bkspc).clamp_min(0)]
            logit = torch.where(distinct.action >= self.bkspc, deletion, logit) + offset[distinct.state]
            value = value + offset
        return [
            Scores(
                logit=logit[taken],
                mean_logit=mean[index[:, :-1]],
                value=value[index],
                **{name: getattr(column, name).to(self.device) for name in ("taken", "imitated", "ended")},
            )
            for column, taken, index in zip(states, distinct.taken, distinct.index, strict=True)
        ]

    def forward(self, inputs: Inputs) -> Tensor:
        """l(a|s) at every input position, float32 [B, L, A]."""
        return self.logits(self.encode(inputs), inputs.position)


def id_set(ids: Ids) -> set[int]:
    """Token ids as a set, however a configuration gives them: none, one or several."""
    return {ids} if isinstance(ids, int) else set(ids or ())


def trained_tensors(policy: Policy) -> dict[str, Tensor]:
    """The trainable tensors by name: the whole network from scratch, adapters alone under LoRA."""
    return {name: p.detach().contiguous() for name, p in policy.named_parameters() if p.requires_grad}
