"""Sampling that deletes tokens, for any causal model of transformers.

There are two ways. A model trained with SequenceMatch (arXiv 2306.05426) has one more output, ``<bkspc>``. It is drawn
like a token, and deletes the last one; further outputs (``<bkspc_2>``, ...) delete several. For every other model there
are rules. ``takeback``, ``takeback_ratio``: a token that was too unlikely where it was written is deleted, and the
model draws again. ``lookahead``: a token is deleted if another one has a better continuation.

This file needs only torch and transformers. As ``custom_generate/generate.py`` of a folder it replaces
``model.generate``: for a model loaded from there with ``trust_remote_code=True``, or for any call ``model.generate(...,
custom_generate=folder, trust_remote_code=True)``.

A deletion costs no forward pass, because the logits of the state it returns to were kept. Every other action costs its
row one, whether its token stays or not. Row b's token at live position p is in column p of the cache. So the next token
overwrites a deleted one, and masks count live positions.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, takewhile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import Cache, StaticLayer
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.streamers import BaseStreamer
from transformers.utils import ModelOutput, cached_file

# Settings of a generation config that this loop does not support. It refuses them unless they are off.
UNHEEDED: tuple[str, ...] = ("num_beams", "num_beam_groups", "penalty_alpha", "dola_layers", "prompt_lookup_num_tokens")
UNHEEDED += ("constraints", "force_words_ids", "guidance_scale", "watermarking_config", "token_healing")
UNHEEDED += ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
# Arguments that change how fast ``generate`` is, or nothing here, but not what it returns.
HARMLESS = ("token_type_ids", "trust_remote_code", "synced_gpus", "use_model_defaults")
CACHES = (None, "dynamic", "dynamic_full", "static")
STRIDE = 128  # the cache grows by this many columns
FEW = 3  # candidates of lookahead at a place
HEAD = "deletion_head.safetensors"  # beside a model's weights


@dataclass
class BackspaceOutput(ModelOutput):
    """What ``generate`` returns with ``return_dict_in_generate=True``.

    sequences: int64 [B, L], the prompt as it was given, then the live completion, padded on the right. actions: int64
    [B, T], all actions after the prompt, deletions and end of sequence included, -1 as padding. log_policy: float32 [B,
    T], the model's own log pi(a|s) of each action, before any logits processor; 0 as padding, and for a deletion by
    rule.
    """

    sequences: Tensor | None = None
    actions: Tensor | None = None
    log_policy: Tensor | None = None


class BackspaceStreamer(BaseStreamer):
    """Prints each token at once, and a ``mark`` for each token that is deleted: ``12`` and a mark leave ``1``.

    tokenizer: what decodes token ids; bkspc: the ids of the deletions of 1, 2, ... tokens (default: those of
    ``<bkspc>``, ``<bkspc_2>``, ... in the tokenizer; ``generate`` sets those that it writes).
    """

    def __init__(self, tokenizer, bkspc: int | Sequence[int] | None = None, mark: str = "⌫", skip_prompt: bool = True):
        self.tokenizer, self.mark, self.skip_prompt = tokenizer, mark, skip_prompt
        self.bkspc = _ids(bkspc) or _named(tokenizer)
        self.prompt: list[int] = []
        self.live: list[int] = []

    def put(self, value: Tensor) -> None:
        """The prompt's ids first, int64 [1, P]; after that one action at a time, int64 [1]."""
        ids = value.flatten().tolist()
        if not self.prompt:
            self.prompt = ids
            self.show("" if self.skip_prompt else self._text(ids))
        elif ids[0] in self.bkspc:
            deleted = self.bkspc.index(ids[0]) + 1
            del self.live[-deleted:]
            self.show(self.mark * deleted)
        else:
            before = self._text(self.live)
            self.live += ids
            after = self._text(self.live)
            # A token's text may depend on its neighbours (spaces): what it adds to the text before it.
            self.show(after[len(before) :] if after.startswith(before) else self._text(ids))

    def end(self) -> None:
        """End the stream with a line break."""
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
    logits_processor=None,
    stopping_criteria=None,
    prefix_allowed_tokens_fn=None,
    streamer: BaseStreamer | None = None,
    tokenizer=None,
    bkspc_token_id: int | Sequence[int] | None = None,
    bkspc_bias: float = 0.0,
    takeback: float = 0.0,
    takeback_ratio: float = 0.0,
    lookahead: float | None = None,
    deletion_head: str | Path | Mapping[str, Tensor] | None = None,
    draft_ids: Tensor | Sequence[Sequence[int]] | None = None,
    **kwargs,
) -> Tensor | BackspaceOutput:
    """Complete prompts, int64 [B, P], padded on either side where ``attention_mask`` [B, P] is 0.

    takeback, takeback_ratio: the rule, for any model. A token just written is deleted if its probability was below
    ``takeback``, or below ``takeback_ratio`` times that of the likeliest token at its place. The model's own
    probability counts, before any logits processor. Three kinds of tokens are never deleted: the likeliest one at its
    place, a token that was the only choice, and the end of a sequence. If only the model writes, the rule truncates the
    distribution that tokens are drawn from (``takeback_ratio`` as ``min_p`` does). Its use is the repair of tokens that
    the model did not choose.

    lookahead: mu, with greedy decoding, for any model. Each of the likeliest three tokens x in a state s has the value
    log p(x|s) until it is written, and then log p(x|s) + mu max_y log p(y|s x), where p counts after processors. The
    best is written, and a written token that is not the best any more is deleted, unless it ends the sequence. Default:
    ``lookahead`` in the generation config, or 0 (off).

    deletion_head: tensors (``0.weight``, ``0.bias``, ``2.weight``, ``2.bias``) or their file: an MLP on the last hidden
    state, whose sigmoid b says whether the last token should be deleted. Lookahead adds log(1 - b) to a value. Default:
    the file ``deletion_head.safetensors`` beside the model, if it is there.

    draft_ids: such tokens, for each prompt its own (int64 [B, D], or lists; at either end, padding tokens and numbers
    below 0 are left out). They are written one by one instead of what the model draws. After a deletion the model draws
    one token, and then the draft continues. The model continues where the draft ends.

    Without a rule the model needs ``<bkspc>``. Its id is ``bkspc_token_id`` (here, or in the generation config or the
    model's config), or that of its name in ``tokenizer``. Several ids delete 1, 2, ... tokens. They never delete a
    prompt token. ``bkspc_bias`` is added to their logits. With a rule, a deletion is written as ``<bkspc>``, or as the
    first id after the model's outputs.

    Settings of the generation config work as in ``generate``, as keyword arguments too. ``max_new_tokens`` and
    ``max_length`` count actions, deletions included. Logits processors and stopping criteria see the live tokens,
    without padding; processors see one row at a time. The streamer receives the prompt, then every action.

    Returns int64 [B, L], or a ``BackspaceOutput``. Raises ValueError for arguments that this loop does not support, if
    the prompt does not fit, and for a model that computes something else here than alone: a few tokens are read in
    both ways, at each length once for every model.
    """
    prompt = input_ids if input_ids is not None else inputs
    if prompt is None or prompt.dim() != 2 or not prompt.shape[1]:
        raise ValueError("sampling with deletions needs input_ids [batch, length] of at least one token")
    named_length = kwargs.get("max_length") or getattr(generation_config or model.generation_config, "max_length", None)
    config, rest = model._prepare_generation_config(generation_config, **kwargs)
    _refuse_unheeded(config, rest)
    _refuse_unfit(model)
    copies = config.num_return_sequences or 1
    if streamer is not None and len(prompt) * copies > 1:
        raise ValueError("a streamer follows one sequence: give one prompt, and num_return_sequences=1")
    for name, value in (("takeback", takeback), ("takeback_ratio", takeback_ratio)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} is a share of probability, from 0 (off) to below 1, not {value}")
    weight = next((w for w in (lookahead, getattr(config, "lookahead", None)) if w is not None), 0.0)
    if not 0 <= weight < math.inf or (weight and (takeback or takeback_ratio)):
        raise ValueError(f"lookahead is a weight, 0 (off) or more, and goes with no other rule; not {weight}")
    if weight and config.do_sample and config.temperature != 0:
        raise ValueError("lookahead chooses the best token, and draws none: set do_sample=False")
    device = model.get_input_embeddings().weight.device
    prompt = prompt.to(device)
    model._prepare_special_tokens(config, attention_mask is not None, device=device)
    if attention_mask is None:
        attention_mask = model._prepare_attention_mask_for_generation(prompt, config, {})
    texts = [row[live.bool()].tolist() for row, live in zip(prompt, attention_mask.to(device), strict=True)]
    if not all(texts):
        raise ValueError("sampling with deletions needs prompts of at least one token that is no padding")
    limit = _max_actions(model, config, named_length, max(map(len, texts)), prompt.shape[1])

    rule = _Rule(takeback, takeback_ratio, weight)
    outputs = model.get_output_embeddings().weight.shape[0]
    learned = _learned(model, config, tokenizer, bkspc_token_id, outputs, needed=not rule)
    bkspc = learned or [outputs]
    drafts = _drafts(draft_ids, len(prompt), config.pad_token_id, {*range(outputs)} - {*learned})
    if streamer is not None and hasattr(streamer, "bkspc"):
        streamer.bkspc = bkspc
    rows = [_Row(text, draft[::-1]) for text, draft in zip(texts, drafts, strict=True) for _ in range(copies)]
    change = logits_processor, prefix_allowed_tokens_fn
    choose = _Choice(model, config, learned, bkspc[0], bkspc_bias, rule, rows, limit, *change)
    stop = _Stop(model, config, stopping_criteria, tokenizer, prompt.repeat_interleave(copies, 0))
    head = _head(model, deletion_head) if weight else None
    store = _Store(model, rows, head)
    if streamer is not None:
        streamer.put(prompt.cpu())
    with _sampling(model):
        _probe(model, max(map(len, texts)) + limit)
        _run(rows, store, choose, stop, limit, bkspc, streamer)
    if streamer is not None:
        streamer.end()

    pad = config.pad_token_id if config.pad_token_id is not None else min(stop.eos, default=0)
    completion = _padded([row.tokens for row in rows], pad, prompt)
    sequences = torch.cat([prompt.repeat_interleave(copies, 0), completion], dim=1)
    if not config.return_dict_in_generate:
        return sequences
    actions = _padded([row.actions for row in rows], -1, prompt)
    log_policy = _padded([row.log_policy for row in rows], 0.0, prompt.float())
    return BackspaceOutput(sequences=sequences, actions=actions, log_policy=log_policy)


def uniform(rows: list[int], steps: list[int]) -> Tensor:
    """Random numbers in [0, 1), float32 [n], for action ``steps[k]`` of row ``rows[k]``, from torch's own generator."""
    return torch.rand(len(rows))


def _refuse_unheeded(config, rest: dict) -> None:
    cache = rest.pop("past_key_values", None)
    if cache is not None and cache.get_seq_length():
        raise ValueError("sampling with deletions keeps a cache of its own: past_key_values must be empty")
    given = {name: getattr(config, name, None) for name in UNHEEDED}
    named = [name for name, value in given.items() if value and (value != 1 or value is True)]  # 1: off, as of beams
    named += [name for name, value in rest.items() if value is not None and name not in HARMLESS]
    if config.cache_implementation not in CACHES:
        named.append(f"cache_implementation='{config.cache_implementation}'")
    if named:
        raise ValueError(f"sampling with deletions does not know {', '.join(named)}")


def _refuse_unfit(model) -> None:
    """Deletions need attention that is told positions and masks, and a cache of keys and values in every layer."""
    # peft's prompt tuning, prefix tuning and p-tuning reach the network through this method alone.
    tuned = getattr(model.prepare_inputs_for_generation, "__self__", model)
    if getattr(getattr(tuned, "active_peft_config", None), "is_prompt_learning", False):
        raise ValueError(
            f"sampling with deletions does not read the tuned tokens of {tuned.active_peft_config.peft_type.value}: "
            "use adapters in the network (LoRA, say), or the ordinary generate"
        )
    name, kinds = type(model).__name__, set(_windows(model))
    fit = getattr(model, "_supports_attention_backend", False) and not getattr(model, "_is_stateful", False)
    positioned = "position_ids" in inspect.signature(model.forward).parameters
    if model.config.is_encoder_decoder or not fit or not positioned or not kinds <= {"full", "sliding"}:
        raise ValueError(f"{name} cannot be sampled with deletions: its layers do not take masks by position")


def _drafts(given, rows: int, pad: int | None, tokens: set[int]) -> list[list[int]]:
    """A draft of these ``tokens`` for each of so many prompts, without the padding around it."""
    drafts = [[]] * rows if given is None else [torch.as_tensor(draft).flatten().tolist() for draft in given]
    if len(drafts) != rows:
        raise ValueError(f"{rows} prompts need as many rows of draft_ids, not {len(drafts)}")
    kept = [[place for place, token in enumerate(draft) if token != pad and token >= 0] or [-1] for draft in drafts]
    drafts = [draft[places[0] : places[-1] + 1] for draft, places in zip(drafts, kept, strict=True)]
    if others := {token for draft in drafts for token in draft} - tokens:
        raise ValueError(f"draft_ids hold {min(others)}, which is no token that the model writes")
    return drafts


# Largest error of a logit in standard deviations of all of them, as in training (model/fitness.py).
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05}
ROUNDED = 0.45  # in bfloat16, and for weights of few bits
PROBED = 8  # tokens of the shortest text, and tokens beyond each length at which a network may change
LENGTHS = ("window", "chunk", "block", "local", "span", "stride", "dilat", "sink", "sparse", "original_max")


def _probe(model, reach: int) -> None:
    """Compare with the model's own pass, at the lengths below ``reach`` at which it may compute something else."""
    named = [
        length
        for name, length in vars(model.config.get_text_config()).items()
        if isinstance(length, int) and any(part in name for part in LENGTHS)
    ]
    probed = model.__dict__.setdefault("_probed_with_deletions", set())  # which lengths, as long as the model lives
    for length in sorted({PROBED, *(PROBED + length for length in named if PROBED < length < reach)} - probed):
        try:
            error = _error(model, length)
        # What networks raise that take no mask by position, no position ids, or no cache of ours.
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as failure:
            raise _unfit(model, " ".join(str(failure).split())[:200] or type(failure).__name__) from failure
        rounded = ROUNDED if getattr(model, "is_quantized", False) else TOLERANCE.get(model.dtype, ROUNDED)
        if not error < rounded:
            raise _unfit(model, f"its logits after {length} tokens are not those of its own pass over them")
        probed.add(length)


def _unfit(model, why: str) -> ValueError:
    return ValueError(f"{type(model).__name__} cannot be sampled with deletions ({why}): choose another model")


def _error(model, length: int) -> float:
    """The largest error of a logit after a deletion, in standard deviations, next to a row of another depth."""
    ids = max(1, model.get_output_embeddings().weight.shape[0] - 3)  # the first three are often special
    text = [3 + (7 * i * i + 3 * i) % ids for i in range(length)]
    rows = [_Row(text[:-4], []), _Row(text[:-5], [])]
    store, attention = _Store(model, rows), model.config._attn_implementation
    if length <= PROBED:  # a short text is read by the network's own attention
        model.set_attn_implementation("eager")
    expected = model(input_ids=store._tensor([text]), use_cache=False).logits[0, -5:].float()
    model.set_attn_implementation(attention)
    store.read_prompts()
    for token in text[-4:]:
        for row in rows:
            row.tokens.append(text[0])
        store.read_last()
        for row in rows:
            row.tokens[-1] = token
        store.read_last()
    found = torch.stack([rows[0].states[n] for n in range(5)]).float()
    return float((found - expected).abs().max() / expected.std())


def _windows(model) -> dict[str, tuple[str, int]]:
    """How far back layers see: by their kind (full, sliding), its name in the config and a length, or 0."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) or 0
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    short = {name: name.removesuffix("_attention") for name in kinds}
    return {kind: (name, window if kind == "sliding" else 0) for name, kind in short.items()}


def _max_actions(model, config, named_length: int | None, longest: int, width: int) -> int:
    text = model.config.get_text_config()
    context = getattr(text, "max_position_embeddings", None)
    limit = config.max_new_tokens
    if limit is None:
        limit = min(named_length, context or named_length) - width if named_length else 20
    if limit < 1 or (context is not None and longest + limit > context):
        raise ValueError(
            f"a prompt of {longest} tokens and {max(limit, 1)} more exceed the context of {context}: "
            "shorten the prompt or lower max_new_tokens"
        )
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    changing = rope.get("rope_type") in ("dynamic", "longrope")
    fixed = rope.get("original_max_position_embeddings") or getattr(text, "original_max_position_embeddings", context)
    if changing and fixed is not None and longest + limit > fixed:
        raise ValueError(
            f"beyond {fixed} tokens this model's position embeddings depend on the length, and a cache would mix them: "
            f"prompt and max_new_tokens come to {longest + limit}"
        )
    return limit


def _head(model, given) -> dict[str, Tensor] | None:
    """The tensors of a deletion head: those given, or of the file beside the model, which is looked for once."""
    if isinstance(given, Mapping):
        width = model.get_output_embeddings().weight.shape[1]
        if given.keys() != {"0.weight", "0.bias", "2.weight", "2.bias"} or given["0.weight"].shape[1] != width:
            raise ValueError(
                f"the deletion head is not one of {type(model).__name__}, whose hidden states have {width} numbers: "
                "give the head that was trained for this model"
            )
        return {name: tensor.to(model.device) for name, tensor in given.items()}
    found = model.__dict__.setdefault("_deletion_heads", {})
    if given not in found:
        file, place = given, model.name_or_path
        if file is None and place:
            absent = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors")}
            file = cached_file(place, HEAD, **absent, _raise_exceptions_for_gated_repo=False)
        found[given] = file and load_file(file)
    return found[given] and _head(model, found[given])


def _learned(model, config, tokenizer, given, outputs: int, needed: bool) -> list[int]:
    """The outputs that delete 1, 2, ... tokens. None is an answer, unless they are needed."""
    holders = (config, model.generation_config, model.config)
    named = [given, *(getattr(holder, "bkspc_token_id", None) for holder in holders)]
    ids = next((_ids(value) for value in named if value is not None), None) or _named(tokenizer)
    if not ids and needed:
        raise ValueError(
            "this model names no <bkspc>: give takeback_ratio= (0.3, say) for a rule that needs none, or "
            "bkspc_token_id=, the id of its last output row"
        )
    if beyond := [token for token in ids if not 0 <= token < outputs]:
        raise ValueError(f"the model has no output row for <bkspc> (token {beyond[0]}): it was not trained with one")
    return ids


def _named(tokenizer) -> list[int]:
    """The ids of ``<bkspc>``, ``<bkspc_2>``, ... as far as a tokenizer has them."""
    vocabulary = {} if tokenizer is None else tokenizer.get_vocab()
    names = (f"<bkspc_{k}>" if k > 1 else "<bkspc>" for k in count(1))
    return [vocabulary[name] for name in takewhile(vocabulary.__contains__, names)]


@contextmanager
def _sampling(model):
    """Evaluation mode, and attention that takes dense masks."""
    training, attention = model.training, model.config._attn_implementation
    model.eval()
    if attention not in ("sdpa", "eager"):  # sdpa knows no softcapping and no sinks
        model.set_attn_implementation("sdpa" if model._supports_sdpa else "eager")
    try:
        yield
    finally:
        model.train(training)
        if attention not in ("sdpa", "eager"):
            model.set_attn_implementation(attention)


@dataclass
class _Rule:
    """Which tokens are deleted: by their probability, its ratio to the likeliest token's, or what comes after them."""

    least: float
    ratio: float
    lookahead: float

    def __bool__(self) -> bool:
        return bool(self.least or self.ratio or self.lookahead)

    def forbids(self, log_policy: float, likeliest: float) -> bool:
        bars = [math.log(self.least)] if self.least else []
        bars += [likeliest + math.log(self.ratio)] if self.ratio else []
        return log_policy < min(max(bars), likeliest)


class _Row:
    """One sequence under way. ``draft``: the rest of the draft, in reverse order."""

    def __init__(self, text: list[int], draft: list[int]):
        self.text, self.draft = text, list(draft)
        self.tokens: list[int] = []  # live, after the prompt
        self.states: dict[int, Tensor] = {}  # logits [A] by the number of live tokens
        self.actions: list[int] = []
        self.log_policy: list[float] = []
        self.deleted = self.done = False  # deleted: by the last action
        # Of lookahead, by the number of live tokens: log p of the likeliest few, and the values of those written.
        self.hoped: dict[int, dict[int, float]] = {}
        self.known: dict[int, dict[int, float]] = {}
        self.stays = 0.0  # log(1 - b) of the last token read

    @property
    def state(self) -> Tensor:
        return self.states[len(self.tokens)]

    def best(self, live: int) -> tuple[int, float]:
        """The best of the likeliest few tokens after ``live`` tokens, and its value."""
        return max((self.hoped[live] | self.known[live]).items(), key=lambda item: item[1])

    def looked_ahead(self, few: dict[int, float], weight: float) -> int | None:
        """The best token in a state whose likeliest ``few`` have these log p; None deletes the last token instead."""
        live = len(self.tokens)
        if not self.deleted:  # a deletion leads back to what is known
            self.hoped[live], self.known[live] = few, {}
            if live:
                token, known = self.tokens[-1], self.known[live - 1]
                log_p = self.hoped[live - 1].get(token, self.log_policy[-1])
                value = known.setdefault(token, log_p + self.stays + weight * max(few.values()))
                if value < self.best(live - 1)[1]:
                    return None
        return self.draft.pop() if self.draft and not self.deleted else self.best(live)[0]


def _run(rows: list[_Row], store: "_Store", choose: "_Choice", stop: "_Stop", limit: int, bkspc, streamer) -> None:
    def note(row: _Row, action: int, log_policy: float) -> None:
        row.actions.append(action)
        row.log_policy.append(log_policy)
        if streamer is not None:
            streamer.put(torch.tensor([action]))
        if action in bkspc:
            del row.tokens[-1 - bkspc.index(action) :]
        else:
            row.tokens.append(action)
        row.deleted = action in bkspc
        row.done = action in stop.eos or len(row.actions) >= limit

    store.read_prompts()
    while True:
        # Every row draws up to its next push that stands: a deletion goes back to a state that is known already.
        drawing = list(range(len(rows)))
        while drawing := [b for b in drawing if not rows[b].done]:
            for b, (action, log_policy, forbidden) in zip(drawing, choose(drawing), strict=True):
                note(rows[b], action, log_policy)
                if forbidden and not rows[b].done:
                    note(rows[b], bkspc[0], 0.0)
            drawing = [b for b in drawing if rows[b].deleted]
        stop(rows)
        if all(row.done for row in rows):
            return
        store.read_last(keep_states=1 if choose.rule.lookahead else None if not choose.rule else 0)


class _Choice:
    """The next action of a row: its number, its log pi(a|s), and whether the rule takes it back."""

    def __init__(
        self, model, config, learned, deletion: int, bias: float, rule: _Rule, rows, limit, processors, allowed
    ):
        self.learned, self.bias, self.rule, self.rows, self.limit = learned, bias, rule, rows, limit
        self.deletion = deletion
        # transformers' own processor would count live tokens, up to its default length.
        self.last, config.forced_eos_token_id = _ids(config.forced_eos_token_id), None
        self.greedy = not config.do_sample or config.temperature == 0
        # An exported config suppresses <bkspc> for the sake of the ordinary loop.
        config.suppress_tokens = [t for t in config.suppress_tokens or () if t not in learned] or None
        config.renormalize_logits = False

        def processors_of(b: int) -> LogitsProcessorList:
            return model._get_logits_processor(
                config,
                input_ids_seq_length=len(rows[b].text),
                encoder_input_ids=torch.tensor([rows[b].text], device=model.device),
                prefix_allowed_tokens_fn=allowed and (lambda _, ids: allowed(b, ids)),
                logits_processor=LogitsProcessorList(processors or []),
                device=model.device,
            )

        config.do_sample = False
        self.by_row = [processors_of(b) for b in range(len(rows))]
        config.do_sample = not self.greedy
        # Temperature, top-k, top-p and the like come last, and read the logits alone: all rows at once.
        self.for_all = processors_of(0)[len(self.by_row[0]) :]

    def __call__(self, drawing: list[int]) -> list[tuple[int, float, bool]]:
        rows = [self.rows[b] for b in drawing]
        logits = torch.stack([row.state for row in rows]).float()
        for k, action in enumerate(self.learned):  # no action where no more than k tokens are live
            logits[torch.tensor([len(row.tokens) <= k for row in rows]), action] = -torch.inf
        normaliser = logits.logsumexp(-1)
        scores = self._scores(logits, rows, drawing)
        if self.rule.lookahead:
            return self._looked_ahead(rows, logits - normaliser[:, None], scores - normaliser[:, None])
        if scores.device.type == "mps":  # which has no float64
            scores = scores.cpu()
        if self.greedy:
            probability = torch.zeros_like(scores).scatter_(1, scores.argmax(-1, keepdim=True), 1.0)
        else:
            probability = scores.softmax(-1)
        # Inverse of the cumulated distribution: one random number decides one action.
        numbers = uniform(drawing, [len(row.actions) for row in rows]).to(probability.device).double()[:, None]
        cumulated = probability.cumsum(-1, dtype=torch.float64)
        drawn = torch.searchsorted(cumulated, numbers * cumulated[:, -1:], right=True)
        sole = probability.gather(1, drawn)[:, 0] == 1
        drawn = drawn.to(logits.device)
        for k, row in enumerate(rows):
            if row.draft and not row.deleted:
                drawn[k], sole[k] = row.draft.pop(), False
        log_policy = (logits.gather(1, drawn)[:, 0] - normaliser).tolist()
        actions = drawn[:, 0].tolist()
        forbidden = [False] * len(rows)
        if self.rule:
            logits[:, self.learned] = -torch.inf
            likeliest = (logits.amax(-1) - normaliser).tolist()
            forbidden = [
                not alone and self.rule.forbids(*pair)
                for alone, *pair in zip(sole.tolist(), log_policy, likeliest, strict=True)
            ]
        return list(zip(actions, log_policy, forbidden, strict=True))

    def _looked_ahead(self, rows: list[_Row], log_policy: Tensor, scores: Tensor) -> list[tuple[int, float, bool]]:
        """The best token of each row, or the deletion of one that is not; log pi [n, A] and after processors."""
        few = scores.topk(min(FEW, scores.shape[1] - len(self.learned)))
        chosen = []
        for row, own, *likeliest in zip(rows, log_policy, few.indices.tolist(), few.values.tolist(), strict=True):
            forced = self.last and len(row.actions) == self.limit - 1
            best = dict(zip(*likeliest, strict=True))
            token = likeliest[0][0] if forced else row.looked_ahead(best, self.rule.lookahead)
            chosen.append((self.deletion, 0.0, False) if token is None else (token, float(own[token]), False))
        return chosen

    def _scores(self, logits: Tensor, rows: list[_Row], drawing: list[int]) -> Tensor:
        """The logits [n, A] after the bias and all logits processors."""
        scores = logits.clone()
        scores[:, self.learned] += -torch.inf if self.rule else self.bias
        if self.by_row[0]:
            ids = (torch.tensor([row.text + row.tokens], device=logits.device) for row in rows)
            each = zip(drawing, ids, scores.split(1), strict=True)
            scores = torch.cat([self.by_row[b](live, score) for b, live, score in each])
        for k, row in enumerate(rows):
            if self.last and len(row.actions) == self.limit - 1:
                scores[k] = -torch.inf
                scores[k, self.last] = 0.0
        for processor in self.for_all:
            scores = processor(None, scores)
        return scores


class _Stop:
    """What ends a sequence: ``eos``, and the stopping criteria, which see live tokens only."""

    def __init__(self, model, config, criteria, tokenizer, prompt: Tensor):
        self.eos = set(_ids(config.eos_token_id))
        self.prompt = prompt
        config.max_length = config._eos_token_tensor = None  # counted here, in actions
        self.criteria = model._get_stopping_criteria(config, criteria if criteria is not None else [], tokenizer)

    def __call__(self, rows: list[_Row]) -> None:
        """Ask the criteria once for each length among the rows that have just written a token.

        Criteria may keep a state for each row, so they are given all rows, cut or filled up to that length.
        """
        under_way = [b for b, row in enumerate(rows) if not row.done] if self.criteria else []
        for length in {len(rows[b].tokens) for b in under_way}:
            completion = _padded([row.tokens[:length] for row in rows], 0, self.prompt)
            ended = self.criteria(torch.cat([self.prompt, completion], dim=1), None).tolist()
            for b in under_way:
                rows[b].done |= ended[b] and len(rows[b].tokens) == length


class _Layer(StaticLayer):
    """Keys and values of one layer, [B, H, room, w]; ``whole``: the store that it is a part of."""

    def __init__(self, whole: "_Store"):
        super().__init__(max_cache_len=0)
        self.whole = whole

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = (s.new_zeros(*s.shape[:2], 0, s.shape[3]) for s in (key_states, value_states))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self.values = self._written(self.keys, key_states), self._written(self.values, value_states)
        return self.keys[:, :, : self.whole.depth], self.values[:, :, : self.whole.depth]

    def _written(self, store: Tensor, states: Tensor) -> Tensor:
        missing = -(-self.whole.depth // STRIDE) * STRIDE - store.shape[2]
        store = F.pad(store, (0, 0, 0, max(0, missing)))
        columns = self.whole.columns.to(states.device)
        store[torch.arange(len(states), device=states.device)[:, None], :, columns] = states.transpose(1, 2)
        return store


class _Store(Cache):
    """What the model has read of each row, and the forward passes that read more; ``head``: of deletions."""

    def __init__(self, model, rows: list[_Row], head: dict[str, Tensor] | None = None):
        self.model, self.rows, self.head, self.depth = model, rows, head, 0  # depth: up to where the running pass reads
        self.columns = torch.empty(0)  # where it writes, int64 [B, Q]
        self.hidden = torch.empty(0)  # what the last pass gave to the unembedding, [B, k, d]
        self.windows = _windows(model)
        self.selects = "logits_to_keep" in inspect.signature(model.forward).parameters
        super().__init__(layer_class_to_replicate=partial(_Layer, self))

    def read_prompts(self) -> None:
        ends = self._tensor([len(row.text) - 1 for row in self.rows])
        token = _padded([row.text for row in self.rows], 0, ends)
        kept, place = ends.unique(return_inverse=True)
        logits = self._read(token, torch.arange(token.shape[1], device=token.device).expand_as(token), kept)
        for row, state in zip(self.rows, logits[torch.arange(len(logits), device=logits.device), place], strict=True):
            row.states[0] = state

    def read_last(self, keep_states: int | None = None) -> None:
        """One forward pass over the last token of every row; ``keep_states`` before it are kept (default: all)."""
        token = self._tensor([[(row.tokens or row.text)[-1]] for row in self.rows])
        position = self._tensor([[len(row.text) + len(row.tokens) - 1] for row in self.rows])
        logits = self._read(token, position, self._tensor([0]))
        for row, state in zip(self.rows, logits[:, 0], strict=True):
            if row.done or keep_states == 0:
                row.states.clear()
            elif keep_states:
                row.states.pop(len(row.tokens) - keep_states - 1, None)
            row.states[len(row.tokens)] = state
        if self.head is not None:
            head = {name: tensor.float() for name, tensor in self.head.items()}
            inner = F.gelu(F.linear(self.hidden[:, -1].float(), head["0.weight"], head["0.bias"]))
            stays = F.logsigmoid(-F.linear(inner, head["2.weight"], head["2.bias"]))[:, 0].tolist()
            for row, of_last in zip(self.rows, stays, strict=True):
                row.stays = of_last

    def _read(self, token: Tensor, position: Tensor, kept: Tensor) -> Tensor:
        """Logits [B, k, A] at the k places ``kept`` of tokens int64 [B, Q], written at their positions int64 [B, Q]."""
        self.columns, self.depth = position, int(position.max()) + 1
        options: dict = {"logits_to_keep": kept} if self.selects else {}
        options |= {"attention_mask": self._mask(position), "position_ids": position, "past_key_values": self}
        unembedding = self.model.get_output_embeddings()
        hook = unembedding.register_forward_pre_hook(lambda _, inputs: setattr(self, "hidden", inputs[0]))
        try:
            logits = self.model(input_ids=token, use_cache=True, **options).logits
        finally:
            hook.remove()
        return logits if self.selects else logits[:, kept]

    def _mask(self, position: Tensor) -> Tensor | dict[str, Tensor]:
        """What queries see, additive [B, 1, Q, depth]; by the kind of layer where there are several."""
        behind = position[..., None] - torch.arange(self.depth, device=position.device)
        masks = {}
        for kind, (name, length) in self.windows.items():
            seen = behind >= 0
            if kind == "sliding":
                seen &= behind < length
            hidden = torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device)
            masks[name] = hidden.masked_fill_(~seen, torch.finfo(hidden.dtype).min)[:, None]
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _tensor(self, values: list) -> Tensor:
        return torch.tensor(values, device=self.model.get_input_embeddings().weight.device)


def _ids(value) -> list[int]:
    """Token ids as a generation config has them: none, one or several."""
    return torch.as_tensor([] if value is None else value).flatten().tolist()


def _padded(rows: list[list], value: float, like: Tensor) -> Tensor:
    longest = max(map(len, rows))
    filled = [[*row, *[value] * (longest - len(row))] for row in rows]
    return torch.tensor(filled, dtype=like.dtype, device=like.device)
