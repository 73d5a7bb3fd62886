"""The shipped sampler beside the plain loop, which reads the whole live text before every action.

The loop knows no cache, no batch and no mask. So whatever families hide in theirs (sliding windows, positions) is
compared with what the network itself computes.
"""

import ast
import copy
import itertools
import math
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import torch
from support.networks import tiny_llama
from support.workflow import ROOT
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, LogitsProcessorList, StaticCache
from transformers.generation import logits_process as processors

from sequencematch import core
from sequencematch.export import custom_generate
from sequencematch.export.custom_generate import BackspaceStreamer, generate
from sequencematch.seeding import uniforms

PROMPTS = [[1, 3, 4, 5, 6, 7, 3], [1, 5], [1, 3, 3, 3]]
DELETED = 20  # the first id after the outputs of the networks below
SMALL = {
    "vocab_size": DELETED,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MIXED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 4}
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "qwen2": {**MIXED, "use_sliding_window": True},
    "qwen3": {**MIXED, "use_sliding_window": True},
    "phi3": {"sliding_window": 4},
    "starcoder2": {"sliding_window": 4},
    "gemma": {},
    "gemma2": MIXED,
    "gemma3_text": MIXED,
    "cohere2": {**MIXED, "logit_scale": 1.0},
    "gpt_oss": {**MIXED, "num_local_experts": 2, "num_experts_per_tok": 1},
    "smollm3": MIXED,
    "olmo2": {},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gpt_neox": {},
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 16},
}


def network(family, **options):
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SMALL, **FAMILIES[family], **options})
    lm = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5)
    return lm


@pytest.fixture(scope="module")
def lm():
    return network("llama")


@pytest.fixture
def numbers(monkeypatch):
    """Numbers that sampler and loop share: those of each prompt."""
    table = torch.from_numpy(uniforms(range(len(PROMPTS)), 64))
    monkeypatch.setattr(custom_generate, "uniform", lambda rows, steps: table[rows, steps])
    return table


def batch(prompts=PROMPTS, side="left", pad=0):
    longest = max(map(len, prompts))
    fill = [[pad] * (longest - len(prompt)) for prompt in prompts]
    ids = [f + p if side == "left" else p + f for p, f in zip(prompts, fill, strict=True)]
    mask = [[0] * len(f) + [1] * len(p) if side == "left" else [1] * len(p) + [0] * len(f)
            for p, f in zip(prompts, fill, strict=True)]  # fmt: skip
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


@dataclass
class Looped:
    """What the plain loop does with a prompt."""

    numbers: torch.Tensor
    limit: int = 24
    ratio: float = 0.0
    processors: list = field(default_factory=list)
    draft: tuple = ()

    def __call__(self, lm, prompt):
        live, actions, log_policy, draft = list(prompt), [], [], list(self.draft)
        while len(actions) < self.limit:
            ids = torch.tensor([live])
            with torch.no_grad():
                logits = lm(input_ids=ids, use_cache=False).logits[:, -1].float()
            scores = LogitsProcessorList(self.processors)(ids, logits.clone())
            probability = scores.softmax(-1).double()
            number = self.numbers[len(actions)].double() * probability.sum()
            action = int((probability.cumsum(-1) <= number).sum())
            forced = bool(draft) and actions[-1:] != [DELETED]
            if forced:
                action = draft.pop(0)
            actions.append(action)
            log_policy.append(float(logits.log_softmax(-1)[0, action]))
            live.append(action)
            if action == 2 or len(actions) == self.limit:
                break
            unlikely = logits[0, action] < logits.max() + math.log(self.ratio) if self.ratio else False
            if unlikely and (forced or probability[0, action] < 1):
                actions.append(DELETED)
                log_policy.append(0.0)
                live.pop()
        return live[len(prompt) :], actions, log_policy


def assert_as_looped(lm, numbers, loop, given, **options):
    found = generate(
        model=lm, **given, do_sample=True, top_k=0, max_new_tokens=loop.limit, return_dict_in_generate=True, **options
    )
    taken_back = 0
    for b, prompt in enumerate(PROMPTS):
        loop.numbers = numbers[b]
        live, actions, log_policy = loop(lm, prompt)
        assert found.actions[b, : len(actions)].tolist() == actions
        torch.testing.assert_close(found.log_policy[b, : len(actions)], torch.tensor(log_policy), atol=1e-4, rtol=1e-4)
        assert found.sequences[b, given["input_ids"].shape[1] :][: len(live)].tolist() == live
        taken_back += actions.count(DELETED)
    return taken_back


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_action_is_that_of_a_pass_over_the_live_tokens(family, side, numbers):
    """Texts grow to several windows, and half of what is written is deleted."""
    lm = network(family)
    assert assert_as_looped(lm, numbers, Looped(numbers, ratio=0.5), batch(side=side), takeback_ratio=0.5) > 10


def test_a_window_matters_to_that_test(numbers):
    """Without its window, the network writes something else."""
    loop = Looped(numbers[0], ratio=0.5)
    assert loop(network("mistral"), PROMPTS[0]) != loop(network("mistral", sliding_window=None), PROMPTS[0])


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gpt_oss"])  # the last two have no sdpa
@pytest.mark.parametrize("attention", ["eager", "flex_attention"])
def test_attention_is_as_it_was_afterwards(attention, family, numbers):
    lm = network(family)
    assert_as_looped(lm, numbers, Looped(numbers, ratio=0.5, limit=4), batch(), takeback_ratio=0.5)
    lm.set_attn_implementation(attention)
    lm.train()
    generate(model=lm, **batch(), takeback_ratio=0.5, max_new_tokens=4)
    assert lm.training and lm.config._attn_implementation == attention


@pytest.mark.parametrize("cache", [{"cache_implementation": "static"}, {"past_key_values": DynamicCache()}, "static"])
def test_caches(lm, numbers, cache):
    if cache == "static":
        cache = {"past_key_values": StaticCache(lm.config, max_cache_len=64)}
    assert_as_looped(lm, numbers, Looped(numbers, ratio=0.3), batch(), takeback_ratio=0.3, **cache)


def test_a_cache_that_was_used_is_refused(lm):
    cache = DynamicCache()
    lm(torch.tensor([[1, 3]]), past_key_values=cache, use_cache=True)
    with pytest.raises(ValueError, match="past_key_values must be empty"):
        generate(model=lm, **batch(), takeback_ratio=0.3, past_key_values=cache)


# Of each kind: what reads the logits alone, what reads the text, what counts from the prompt's end.
PROCESSED = {
    "typical_p": (0.6, lambda n: processors.TypicalLogitsWarper(0.6)),
    "repetition_penalty": (1.8, lambda n: processors.RepetitionPenaltyLogitsProcessor(1.8)),
    "no_repeat_ngram_size": (2, lambda n: processors.NoRepeatNGramLogitsProcessor(2)),
    "suppress_tokens": ([4, 9], lambda n: processors.SuppressTokensLogitsProcessor([4, 9])),
    "begin_suppress_tokens": ([2, 3], lambda n: processors.SuppressTokensAtBeginLogitsProcessor([2, 3], n)),
    "min_new_tokens": (9, lambda n: processors.MinNewTokensLengthLogitsProcessor(n, 9, torch.tensor([2]))),
    "exponential_decay_length_penalty": (
        (2, 1.4),
        lambda n: processors.ExponentialDecayLengthPenalty((2, 1.4), torch.tensor([2]), n),
    ),
    "temperature": (1.7, lambda n: processors.TemperatureLogitsWarper(1.7)),
    "top_p": (0.7, lambda n: processors.TopPLogitsWarper(0.7)),
}


WARPERS = ("typical_p", "temperature", "top_p")


class Ending(processors.LogitsProcessor):
    """The end of the sequence, more often than the network writes it."""

    def __call__(self, input_ids, scores):
        return scores.index_add(1, torch.tensor([2]), torch.full((len(scores), 1), 2.0))


@pytest.mark.parametrize("name", PROCESSED)
def test_logits_processors_see_the_live_tokens(lm, numbers, name):
    value, make = PROCESSED[name]
    options = {
        "do_sample": True,
        "top_k": 0,
        "max_new_tokens": 24,
        "takeback_ratio": 0.3,
        "logits_processor": [Ending()],
    }
    options |= {"return_dict_in_generate": True}
    found = generate(model=lm, **batch(), **options, **{name: value})
    assert found.actions.tolist() != generate(model=lm, **batch(), **options).actions.tolist()
    for b, prompt in enumerate(PROMPTS):
        own = make(len(prompt))
        order = [own, Ending()] if name not in WARPERS else [Ending(), own]
        _, actions, _ = Looped(numbers[b], ratio=0.3, processors=order)(lm, prompt)
        assert found.actions[b, : len(actions)].tolist() == actions


def test_a_constraint_of_ones_own(lm, numbers):
    def after_three(row, ids):
        return [4 + row] if ids[-1] == 3 else list(range(DELETED))

    options = {"do_sample": True, "top_k": 0, "max_new_tokens": 40, "takeback_ratio": 0.3}
    found = generate(model=lm, **batch(), **options, prefix_allowed_tokens_fn=after_three)
    followed = 0
    for b, (prompt, row) in enumerate(zip(PROMPTS, found[:, 7:].tolist(), strict=True)):
        for before, after in itertools.pairwise([prompt[-1], *row]):
            if before == 3:  # the only choice stands, however unlikely
                assert after == 4 + b
                followed += 1
    assert followed


def test_drafts_are_repaired(lm, numbers):
    """What the user wrote goes in token by token; the model replaces what it finds unlikely, and goes on behind it."""
    draft = [3, 4, 5, 6, 7, 8]
    loop = Looped(numbers, ratio=0.3, draft=tuple(draft))
    assert assert_as_looped(lm, numbers, loop, batch(), takeback_ratio=0.3, draft_ids=[draft] * 3) > 3
    kept = generate(model=lm, **batch(), takeback_ratio=1e-9, draft_ids=torch.tensor([draft] * 3), max_new_tokens=6)
    assert kept[:, 7:].tolist() == [draft] * 3


def test_padding_is_no_draft(lm):
    options = {"takeback_ratio": 1e-9, "max_new_tokens": 3, "pad_token_id": 2}  # the end of a sequence, too
    for draft in ([[3, 4, 5], [6, 2, 2], [2, 2, 8]], [[3, 4, 5], [6], [8]], [[3, 4, 5], [6, -100, -1], [-1, 2, 8]]):
        torch.manual_seed(0)
        found = generate(model=lm, **batch(), **options, draft_ids=draft)[:, 7:].tolist()
        assert found[0] == [3, 4, 5] and found[1][0] == 6 and found[2][0] == 8
        assert all(2 not in row[:2] for row in found)


@pytest.mark.parametrize("ratio", [1e-9, 0.5])
def test_the_end_is_forced_at_the_last_action(lm, ratio):
    options = {"takeback_ratio": ratio, "do_sample": True, "top_k": 0, "eos_token_id": None, "max_new_tokens": 30}
    torch.manual_seed(0)
    found = generate(model=lm, **batch(), **options, forced_eos_token_id=5, return_dict_in_generate=True)
    torch.manual_seed(0)
    plain = generate(model=lm, **batch(), **options, return_dict_in_generate=True)
    assert torch.equal(found.actions[:, :29], plain.actions[:, :29]) and (found.actions[:, 29] == 5).all()
    assert (found.log_policy[:, 29] < 0).all()


def test_where_no_token_reaches_the_bar_the_likeliest_stands(lm):
    """Otherwise nothing could ever be written there."""
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": 40, "eos_token_id": None}
    found = generate(model=lm, **batch(), **options, takeback=0.999)
    likeliest = generate(model=lm, **batch(), do_sample=False, takeback_ratio=0.3, max_new_tokens=40, eos_token_id=None)
    for row, greedy in zip(found[:, 7:].tolist(), likeliest[:, 7:].tolist(), strict=True):
        assert row[:3] == greedy[:3]


@pytest.mark.parametrize(
    ("options", "deletions", "lost"),
    [
        ({"do_sample": True, "top_k": 0, "takeback_ratio": 0.5}, {DELETED}, 1),
        ({"do_sample": True, "top_k": 0, "bkspc_token_id": [18, 19], "bkspc_bias": 2.0}, {18, 19}, 0),
        ({"lookahead": 0.75}, {DELETED}, 0),
    ],
    ids=["rule", "learned", "lookahead"],
)
def test_a_deletion_costs_no_forward_pass(lm, options, deletions, lost):
    """Every token is read once, but those that the rule deletes at once (``lost``), and the last one."""
    options = options | {"max_new_tokens": 24, "eos_token_id": None}
    generate(model=lm, **batch(PROMPTS[:1]), **options)  # compares the model with itself
    torch.manual_seed(0)
    calls = []
    handle = lm.register_forward_pre_hook(lambda *_: calls.append(1))
    (actions,) = generate(model=lm, **batch(PROMPTS[:1]), **options, return_dict_in_generate=True).actions.tolist()
    handle.remove()
    deleted = [action for action in actions if action in deletions]
    assert {*deleted} == deletions
    read = len(actions) - len(deleted) * (1 + lost)
    assert len(calls) in (read, read + 1)  # one for the prompt


# ---- stopping -------------------------------------------------------------------------------------------


class AfterToken:
    """A criterion as an evaluation harness has it: a state for each row, and one answer for all."""

    def __init__(self, token, start, rows):
        self.token, self.start, self.seen = token, start, [False] * rows

    def __call__(self, ids, scores, **kwargs):
        for b, row in enumerate(ids[:, self.start :].tolist()):
            self.seen[b] |= row[-1] == self.token
        return all(self.seen)


def test_stopping_criteria_see_each_row_at_its_own_length(lm, numbers):
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": 50, "takeback_ratio": 0.3, "eos_token_id": None}
    options |= {"return_dict_in_generate": True, "suppress_tokens": [0]}
    plain = generate(model=lm, **batch(), **options).actions.tolist()

    def written(token):
        """After how many actions each row first keeps the token."""
        pairs = [list(zip(row, [*row[1:], -1], strict=True)) for row in plain]
        return [next(t for t, (a, then) in enumerate(row, 1) if a == token and then != DELETED) for row in pairs]

    token = 13
    found = generate(model=lm, **batch(), **options, stopping_criteria=[lambda ids, _: ids[:, -1] == token]).actions
    lengths = (found >= 0).sum(1).tolist()
    assert lengths == written(token) and len(set(lengths)) > 1
    for row, long, n in zip(found.tolist(), plain, lengths, strict=True):
        assert row[:n] == long[:n]
    harness = AfterToken(token, 7, len(PROMPTS))
    found = generate(model=lm, **batch(), **options, stopping_criteria=[harness]).actions
    assert all(harness.seen) and max(lengths) <= found.shape[1] < 50
    for row, long, n in zip(found.tolist(), plain, (found >= 0).sum(1).tolist(), strict=True):
        assert row[:n] == long[:n]


def test_time_runs_out(lm):
    found = generate(model=lm, **batch(), takeback_ratio=0.3, do_sample=True, max_time=0.0, eos_token_id=None)
    assert found.shape[1] == 8


def test_max_length_and_its_default(lm):
    options = {"do_sample": True, "top_k": 0, "eos_token_id": None, "takeback_ratio": 1e-9}
    assert generate(model=lm, **batch(), **options).shape[1] == 7 + 20
    assert generate(model=lm, **batch(), **options, max_length=12).shape[1] == 12
    assert generate(model=lm, **batch(), **options, max_length=1000).shape[1] == 64


# ---- what is refused ------------------------------------------------------------------------------------


def test_families_that_cannot_rewind_are_refused():
    shared = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2}
    for family, options in {
        "bloom": {"n_head": 2},
        "mamba": {},
        "gpt_neo": {"num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    }.items():
        lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**shared, **options}))
        with pytest.raises(ValueError, match="cannot be sampled with deletions"):
            generate(model=lm, input_ids=torch.tensor([[1, 3]]), takeback_ratio=0.3)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_networks_that_compute_something_else_by_position_are_refused(family):
    """Positions of RoBERTa begin at the padding token's id plus 1."""
    lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SMALL, is_decoder=True))
    with pytest.raises(ValueError, match=r"cannot be sampled with deletions \(its logits after 8 tokens"):
        generate(model=lm, **batch(), takeback_ratio=0.3)


def test_what_changes_at_a_length_is_found_where_texts_reach_it(monkeypatch):
    monkeypatch.setattr(custom_generate, "_windows", lambda model: {"full": ("full_attention", 0)})
    lm = network("mistral", sliding_window=10)
    generate(model=lm, **batch(), takeback_ratio=0.3, max_new_tokens=3)
    with pytest.raises(ValueError, match="after 18 tokens"):
        generate(model=lm, **batch(), takeback_ratio=0.3, max_new_tokens=30)


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig", "PromptEncoderConfig"])
@pytest.mark.parametrize("direct", [True, False])
def test_tuned_tokens_of_peft_are_refused(kind, direct):
    import peft

    options = {"encoder_hidden_size": 8} if kind == "PromptEncoderConfig" else {}
    tuned = peft.get_peft_model(
        network("llama"), getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=4, **options)
    )
    arguments = {**batch(), "takeback_ratio": 0.3, "max_new_tokens": 3}
    by_folder = partial(tuned.generate, custom_generate=str(ROOT / "takeback"), trust_remote_code=True)
    with pytest.raises(ValueError, match="does not read the tuned tokens of P"):
        (partial(generate, model=tuned) if direct else by_folder)(**arguments)
    with tuned.disable_adapter():
        by_folder(**arguments)


def test_position_embeddings_that_depend_on_the_length_are_refused():
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0, "original_max_position_embeddings": 16}
    lm = network("llama", rope_parameters=rope)
    with pytest.raises(ValueError, match="depend on the length"):
        generate(model=lm, **batch(), takeback_ratio=0.3, max_new_tokens=20)
    generate(model=lm, **batch(), takeback_ratio=0.3, max_new_tokens=9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "names no <bkspc>"),
        ({"takeback_ratio": 1.5}, "takeback_ratio is a share"),
        ({"takeback": -0.1}, "takeback is a share"),
        ({"takeback_ratio": 0.3, "draft_ids": [[3]]}, "as many rows of draft_ids"),
        ({"takeback_ratio": 0.3, "draft_ids": [[3, DELETED, 4], [], []]}, "hold 20, which is no token"),
        ({"bkspc_token_id": [18, 19], "draft_ids": [[3, 18], [], []]}, "hold 18, which is no token"),
        ({"takeback_ratio": 0.3, "attention_mask": torch.zeros(3, 7, dtype=torch.long)}, "no padding"),
        ({"takeback": 0.1, "max_new_tokens": 100}, "exceed the context"),
        ({"takeback": 0.1, "num_beams": 2}, "num_beams"),
        ({"bkspc_token_id": 10_000}, "no output row"),
        ({"takeback": 0.1, "guidance_scale": 2.0}, "guidance_scale"),
        ({"takeback": 0.1, "output_scores": True}, "output_scores"),
        ({"takeback": 0.1, "cache_implementation": "quantized"}, "quantized"),
        ({"takeback": 0.1, "assistant_model": object()}, "assistant_model"),
        ({"takeback": 0.1, "prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens"),
        ({"takeback": 0.1, "inputs_embeds": torch.zeros(1, 1, 32)}, "inputs_embeds"),
        ({"takeback": 0.1, "max_new_tokenz": 3}, "max_new_tokenz"),
        ({"takeback": 0.1, "streamer": object()}, "streamer"),
    ],
)
def test_what_makes_no_sense_or_cannot_be_done_is_refused(lm, options, words):
    with pytest.raises(ValueError, match=words):
        generate(model=lm, **{**batch(), **options})


# ---- the folder for any model ---------------------------------------------------------------------------


def test_the_folder_for_any_model_holds_this_file():
    shipped = ROOT / "takeback/custom_generate/generate.py"
    assert shipped.is_symlink() and shipped.resolve() == Path(custom_generate.__file__).resolve()


def test_the_file_needs_torch_safetensors_and_transformers_alone():
    """It travels with models, to people who have nothing else."""
    tree = ast.parse(Path(custom_generate.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in imported}
    assert roots - sys.stdlib_module_names == {"torch", "safetensors", "transformers"}


def test_the_folder_works_in_plain_transformers(lm, capsys):
    class Letters:
        """A tokenizer of letters."""

        def get_vocab(self):
            return {}

        def decode(self, ids, skip_special_tokens=True):
            return "".join(chr(ord("a") + i) for i in ids if i > 2)

    options = {"custom_generate": str(ROOT / "takeback"), "trust_remote_code": True, "takeback_ratio": 0.5}
    options |= {"do_sample": True, "top_k": 0, "max_new_tokens": 20}
    torch.manual_seed(0)
    found = lm.generate(
        **batch(PROMPTS[:1]), **options, streamer=BackspaceStreamer(Letters()), return_dict_in_generate=True
    )
    shown = capsys.readouterr().out
    assert shown.count("⌫") == (found.actions == DELETED).sum() > 0
    torch.manual_seed(0)
    assert torch.equal(lm.generate(**batch(PROMPTS[:1]), **options), found.sequences)


# ---- lookahead -----------------------------------------------------------------------------------------


def a_head(width=16):
    torch.manual_seed(3)
    return {"0.weight": torch.randn(8, width), "0.bias": torch.zeros(8),
            "2.weight": torch.randn(1, 8), "2.bias": torch.tensor([-2.0])}  # fmt: skip


def with_the_best_continuations(lm, prompt, weight, head, longest=12):
    """The tokens that stay if all of the likeliest three are tried everywhere; each pass reads the whole text."""
    unembedded = []

    def log_p(live):
        lm.get_output_embeddings().register_forward_pre_hook(lambda _, read: unembedded.append(read[0][0, -1]))
        with torch.no_grad():
            return lm(input_ids=torch.tensor([[*prompt, *live]]), use_cache=False).logits[0, -1].log_softmax(-1)

    def value(live, token, log_policy):
        if token == 2:
            return float(log_policy)
        ahead, kept = log_p([*live, token]).max(), 0.0
        if head:
            inner = torch.nn.functional.gelu(head["0.weight"] @ unembedded[-1] + head["0.bias"])
            kept = torch.nn.functional.logsigmoid(-(head["2.weight"] @ inner + head["2.bias"]))
        return float(log_policy + kept + weight * ahead)

    live = []
    while 2 not in live and len(live) < longest:
        now = log_p(live)
        live.append(max(now.topk(3).indices.tolist(), key=lambda token: value(live, token, now[token])))
    return live


@pytest.mark.parametrize("head", [None, a_head()], ids=["", "head"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "opt"])
def test_lookahead_keeps_the_best_continuations(family, head):
    lm = network(family)
    options = {"max_new_tokens": 48, "return_dict_in_generate": True, "lookahead": 0.75}
    found = generate(model=lm, **batch(), **options, deletion_head=head)
    assert (found.actions == DELETED).any()
    for b, prompt in enumerate(PROMPTS):
        actions = [action for action in found.actions[b].tolist() if action >= 0]
        best = with_the_best_continuations(lm, prompt, 0.75, head)
        # What is written last may not have been deleted yet, where actions ran out.
        kept = list(core.live_tokens(prompt, actions, DELETED))[: len(best)]
        assert kept == best or (2 not in kept and kept[:-1] == best[: len(kept) - 1])


def test_lookahead_repairs_drafts_and_is_read_from_the_generation_config(lm):
    draft = [3, 4, 5, 6, 7, 8]
    options = {"max_new_tokens": 40, "draft_ids": [draft] * 3, "return_dict_in_generate": True}
    asked = generate(model=lm, **batch(), **options, lookahead=0.75)
    assert (asked.actions == DELETED).sum() > 3
    config = copy.deepcopy(lm.generation_config)
    config.lookahead = 0.75
    assert torch.equal(generate(model=lm, **batch(), **options, generation_config=config).actions, asked.actions)
    for wrong in ({"lookahead": -1.0}, {"lookahead": 0.75, "takeback": 0.1}, {"lookahead": 0.75, "do_sample": True}):
        with pytest.raises(ValueError, match="lookahead"):
            generate(model=lm, **batch(), **wrong)
    for other in (a_head(width=24), {}):
        with pytest.raises(ValueError, match="hidden states have 16 numbers"):
            generate(model=lm, **batch(), lookahead=0.75, deletion_head=other)


def test_a_learned_backspace_gives_way_to_the_rule(numbers):
    """An exported model's own <bkspc> is not drawn where the rule deletes."""
    lm = tiny_llama(DELETED + 1)
    options = {"bkspc_token_id": DELETED, "do_sample": True, "top_k": 0, "max_new_tokens": 30, "eos_token_id": 2}
    found = generate(model=lm, **batch(), **options, bkspc_bias=50.0, takeback_ratio=0.2, return_dict_in_generate=True)
    for row in found.actions.tolist():
        for before, after in itertools.pairwise(row):
            assert (before, after) != (DELETED, DELETED)
    learned = generate(model=lm, **batch(), **options, bkspc_bias=50.0, return_dict_in_generate=True)
    assert (learned.actions == DELETED).sum() > 10
