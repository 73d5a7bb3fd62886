"""Sampling with ``<bkspc>``: a token that takes the last one back (SequenceMatch, arXiv 2306.05426).

This file stands alone: it needs torch and transformers, nothing else. As ``custom_generate/generate.py`` of a model
folder it replaces ``model.generate``, for a model loaded from there with ``trust_remote_code=True``, or for any
call ``model.generate(..., custom_generate=folder, trust_remote_code=True)``.

Every forward pass appends one token to every row. ``<bkspc>`` needs none: it hides the deleted token's column of
the cache by the attention mask, and the logits of the state it returns to are still at hand.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.generation.streamers import BaseStreamer
from transformers.utils import ModelOutput

# What ordinary ``generate`` would do, and this loop does not: refused rather than passed over.
UNSUPPORTED = (
    "logits_processor",
    "stopping_criteria",
    "prefix_allowed_tokens_fn",
    "assistant_model",
    "negative_prompt_ids",
    "inputs_embeds",
)


@dataclass
class BackspaceOutput(ModelOutput):
    """What ``generate`` returns with ``return_dict_in_generate=True``.

    sequences: int64 [B, L], prompt and completion that stands, padded; actions: int64 [B, T], everything done
    after the prompt, ``<bkspc>`` and end of sequence included, -1 as padding; log_policy: float32 [B, T],
    log pi(a|s) of each action before temperature, top-k and top-p, 0 as padding.
    """

    sequences: Tensor | None = None
    actions: Tensor | None = None
    log_policy: Tensor | None = None


class BackspaceStreamer(BaseStreamer):
    """Prints each token at once, and each deletion as ``mark`` followed by nothing: ``12`` and a mark leave ``1``.

    tokenizer: what decodes token ids; bkspc: the id of ``<bkspc>`` (default: by its name in the tokenizer).
    """

    def __init__(self, tokenizer, bkspc: int | None = None, mark: str = "⌫", skip_prompt: bool = True):
        self.tokenizer = tokenizer
        self.bkspc = tokenizer.convert_tokens_to_ids("<bkspc>") if bkspc is None else bkspc
        self.mark = mark
        self.skip_prompt = skip_prompt
        self.prompt: list[int] = []
        self.live: list[int] = []

    def put(self, value: Tensor) -> None:
        """The prompt's ids first, int64 [1, P]; after that one action at a time, int64 [1]."""
        ids = value.flatten().tolist()
        if not self.prompt:
            self.prompt = ids
            self.show("" if self.skip_prompt else self._text(ids))
        elif ids == [self.bkspc]:
            self.live.pop()
            self.show(self.mark)
        else:
            before = self._text(self.live)
            self.live += ids
            after = self._text(self.live)
            # A token's text may depend on its neighbours (spaces): what it adds to the text before it.
            self.show(after[len(before) :] if after.startswith(before) else self._text(ids))

    def end(self) -> None:
        self.prompt, self.live = [], []
        self.show("\n")

    def show(self, text: str) -> None:
        """Where the text goes; override it to send it elsewhere."""
        print(text, end="", flush=True)

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


@torch.no_grad()
def generate(
    inputs: Tensor | None = None,
    *,
    model,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    generation_config=None,
    streamer: BaseStreamer | None = None,
    tokenizer=None,
    bkspc_token_id: int | None = None,
    bkspc_bias: float = 0.0,
    **kwargs,
) -> Tensor | BackspaceOutput:
    """Complete prompts, int64 [B, P], padded on the left where ``attention_mask`` [B, P] is 0.

    ``<bkspc>`` is known by ``bkspc_token_id``, here or in the generation config or the model's config, or by its name
    in ``tokenizer``; it never removes a prompt token. ``bkspc_bias`` is added to its logit. Of the generation
    config, as keyword arguments too: do_sample, temperature, top_k, top_p, max_new_tokens or max_length (either
    counts actions, deletions included), eos_token_id, pad_token_id, num_return_sequences,
    return_dict_in_generate. The streamer receives the prompt, and every action as it is taken.

    Returns int64 [B, L], or a ``BackspaceOutput``. Raises ValueError where something else is asked for, or the
    prompt does not fit.
    """
    prompt = input_ids if input_ids is not None else inputs
    config = copy.deepcopy(generation_config if generation_config is not None else model.generation_config)
    rest = config.update(**kwargs)
    asked_for = [name for name in UNSUPPORTED if rest.get(name)]
    if asked_for or (config.num_beams or 1) > 1:
        raise ValueError(f"sampling with <bkspc> does not know {', '.join(asked_for) or 'num_beams'}")
    if prompt is None or prompt.dim() != 2 or not prompt.shape[1]:
        raise ValueError("sampling with <bkspc> needs input_ids [batch, length] of at least one token")
    if streamer is not None and len(prompt) * (config.num_return_sequences or 1) > 1:
        raise ValueError("a streamer follows one sequence: give one prompt, and num_return_sequences=1")
    sampler = _Sampler(model, config, _bkspc(model, config, tokenizer, bkspc_token_id), bkspc_bias, streamer)
    training = model.training
    model.eval()
    try:
        return sampler.run(prompt, attention_mask)
    finally:
        model.train(training)


def uniform(rows: list[int]) -> Tensor:
    """A random number in [0, 1) for the next action of each row, float32 [n], from torch's own generator."""
    return torch.rand(len(rows))


def _bkspc(model, config, tokenizer, given: int | None) -> int:
    for holder in (config, model.generation_config, model.config):
        given = getattr(holder, "bkspc_token_id", None) if given is None else given
    if given is None and tokenizer is not None:
        given = tokenizer.get_vocab().get("<bkspc>")
    if given is None:
        raise ValueError("this model names no <bkspc>: say bkspc_token_id=, the id of its last output row")
    if not 0 <= given < model.get_output_embeddings().weight.shape[0]:
        raise ValueError(f"the model has no output row for <bkspc> (token {given}): it was not trained with one")
    return given


class _Row:
    """One sequence under way: its actions, and of each live token the cache's column and the state after it."""

    def __init__(self, prompt_length: int, state: Tensor):
        self.depth = prompt_length  # live tokens, the prompt's included
        self.columns: list[int] = []
        self.tokens: list[int] = []
        self.states: list[Tensor] = [state]  # logits [A] after the prompt, and after each live token
        self.actions: list[int] = []
        self.log_policy: list[float] = []
        self.done = False


class _Sampler:
    def __init__(self, model, config, bkspc: int, bkspc_bias: float, streamer):
        self.model = model
        self.config = config
        self.bkspc = bkspc
        self.bias = bkspc_bias
        self.streamer = streamer
        eos = config.eos_token_id if config.eos_token_id is not None else []
        self.eos = {eos} if isinstance(eos, int) else set(torch.as_tensor(eos).tolist())
        self.pad = config.pad_token_id if config.pad_token_id is not None else min(self.eos, default=0)

    def run(self, prompt: Tensor, mask: Tensor | None) -> Tensor | BackspaceOutput:
        device = self.model.get_input_embeddings().weight.device
        copies = self.config.num_return_sequences or 1
        prompt = prompt.repeat_interleave(copies, 0).to(device)
        mask = torch.ones_like(prompt) if mask is None else mask.repeat_interleave(copies, 0).to(prompt)
        if not mask[:, -1].all():
            raise ValueError("prompts of different length must be padded on the left (padding_side='left')")
        limit = self._max_actions(prompt.shape[1])
        if self.streamer is not None:
            self.streamer.put(prompt.cpu())

        output = self.model(
            input_ids=prompt,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp_min(0),
            use_cache=True,
            logits_to_keep=1,
        )
        rows = [_Row(n, state) for n, state in zip(mask.sum(1).tolist(), output.logits[:, -1], strict=True)]
        while True:
            self._act(rows, mask, limit)
            if all(row.done for row in rows):
                break
            # Every row under way has just pushed; the others push what is never seen.
            token = torch.tensor([[self.pad if row.done else row.tokens[-1]] for row in rows], device=device)
            position = torch.tensor([[0 if row.done else row.depth - 1] for row in rows], device=device)
            live = torch.tensor([[not row.done] for row in rows], device=device)
            mask = torch.cat([mask, live.to(mask)], dim=1)
            output = self.model(
                input_ids=token,
                attention_mask=mask,
                position_ids=position,
                past_key_values=output.past_key_values,
                use_cache=True,
                logits_to_keep=1,
            )
            for row, state in zip(rows, output.logits[:, -1], strict=True):
                if not row.done:
                    row.columns.append(mask.shape[1] - 1)
                    row.states.append(state)
        if self.streamer is not None:
            self.streamer.end()
        return self._output(prompt, rows)

    def _act(self, rows: list[_Row], mask: Tensor, limit: int) -> None:
        """Every row draws up to its next push: a pop goes back to a state that is known already."""
        drawing = [b for b, row in enumerate(rows) if not row.done]
        while drawing:
            popped = []
            for b, action, log_policy in zip(drawing, *self._draw(drawing, rows), strict=True):
                row = rows[b]
                row.actions.append(action)
                row.log_policy.append(log_policy)
                if self.streamer is not None:
                    self.streamer.put(torch.tensor([action]))
                if action == self.bkspc:
                    mask[b, row.columns.pop()] = 0
                    row.states.pop()
                    row.tokens.pop()
                    row.depth -= 1
                else:
                    row.tokens.append(action)
                    row.depth += 1
                row.done = action in self.eos or len(row.actions) >= limit
                if action == self.bkspc and not row.done:
                    popped.append(b)
            drawing = popped

    def _draw(self, drawing: list[int], rows: list[_Row]) -> tuple[list[int], list[float]]:
        """The next action of each of these rows, and its log pi(a|s)."""
        logits = torch.stack([rows[b].states[-1] for b in drawing]).float()
        at_prompt = torch.tensor([not rows[b].tokens for b in drawing], device=logits.device)
        probability = self._probabilities(logits, at_prompt).double().cpu()
        # Inverse of the cumulated distribution: one random number decides one action.
        cumulated = probability.cumsum(-1)
        numbers = uniform(drawing).double()[:, None]
        action = torch.searchsorted(cumulated, numbers * cumulated[:, -1:], right=True).to(logits.device)
        log_policy = logits.log_softmax(-1).gather(1, action)
        return action[:, 0].tolist(), log_policy[:, 0].tolist()

    def _probabilities(self, logits: Tensor, at_prompt: Tensor) -> Tensor:
        """The distribution over actions, float32 [n, A]: bias, temperature, then top-k, then top-p."""
        config = self.config
        temperature = 1.0 if config.temperature is None else config.temperature
        top_p = 1.0 if config.top_p is None else config.top_p
        logits = logits.clone()
        logits[:, self.bkspc] += self.bias
        logits[:, self.bkspc].masked_fill_(at_prompt, -torch.inf)
        if not config.do_sample or temperature == 0:
            return torch.zeros_like(logits).scatter_(1, logits.argmax(-1, keepdim=True), 1.0)
        logits /= temperature
        if 0 < (config.top_k or 0) < logits.shape[1]:
            least = logits.topk(config.top_k).values[:, -1:]
            logits.masked_fill_(logits < least, -torch.inf)
        probability = logits.softmax(-1)
        if top_p < 1:
            ordered, order = probability.sort(descending=True, stable=True)
            before = ordered.cumsum(-1) - ordered
            ordered[:, 1:].masked_fill_(before[:, 1:] >= top_p, 0)
            probability = torch.zeros_like(ordered).scatter_(1, order, ordered)
        return probability

    def _max_actions(self, prompt_length: int) -> int:
        context = getattr(self.model.config, "max_position_embeddings", None)
        limit = self.config.max_new_tokens
        if limit is None:
            length = self.config.max_length or context or prompt_length + 20
            limit = (length if context is None else min(length, context)) - prompt_length
        if limit < 1 or (context is not None and prompt_length + limit > context):
            raise ValueError(
                f"a prompt of {prompt_length} tokens and {max(limit, 1)} more exceed the context of {context}: "
                "shorten the prompt or lower max_new_tokens"
            )
        return limit

    def _output(self, prompt: Tensor, rows: list[_Row]) -> Tensor | BackspaceOutput:
        completion = _padded([row.tokens for row in rows], self.pad, prompt)
        sequences = torch.cat([prompt, completion], dim=1)
        if not self.config.return_dict_in_generate:
            return sequences
        actions = _padded([row.actions for row in rows], -1, prompt)
        log_policy = _padded([row.log_policy for row in rows], 0.0, prompt.float())
        return BackspaceOutput(sequences=sequences, actions=actions, log_policy=log_policy)


def _padded(rows: list[list], value: float, like: Tensor) -> Tensor:
    longest = max(map(len, rows))
    filled = [[*row, *[value] * (longest - len(row))] for row in rows]
    return torch.tensor(filled, dtype=like.dtype, device=like.device)
