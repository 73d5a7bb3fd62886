"""Networks of many families, tiny and random: what we compute is what the family computes, up to the context given."""

import json
import subprocess
import sys
from random import Random

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.errors import UserError
from sequencematch.model.build import load_policy, new_policy, save_policy
from sequencematch.sampling.rollout import Decoding, eos_ids, sample
from sequencematch.settings.model import Model

VOCABULARY, CONTEXT = 40, 192
SPECIALS = {"bos": 1, "eos": 2, "pad": 0}
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
SHAPE |= {"intermediate_size": 24, "max_position_embeddings": CONTEXT, "initializer_range": 0.3}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": CONTEXT}
MIXED = {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}
LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 40}
LONGROPE |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}


def a_folder(folder, kind: str, **settings) -> str:
    torch.manual_seed(0)
    names = {f"{name}_token_id": token for name, token in SPECIALS.items()}
    config = AutoConfig.for_model(kind, **{"vocab_size": VOCABULARY, **names, **SHAPE, **settings})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


def loaded(source: str, precision: str = "float32", **special_ids):
    return new_policy(
        Model(source=source, precision=precision), VOCABULARY, SPECIALS | special_ids, backspace=True, seed=0
    )


FIT = {
    "qwen2": ("qwen2", {}),
    "gpt2": ("gpt2", GPT2),
    "gpt_neox": ("gpt_neox", {}),
    "mistral, 4": ("mistral", {"sliding_window": 4}),
    "mistral, 20": ("mistral", {"sliding_window": 20}),
    "mistral, 150": ("mistral", {"sliding_window": 150}),
    "qwen2, one layer": ("qwen2", MIXED),
    "phi3": ("phi3", {"sliding_window": 20}),
    "starcoder2": ("starcoder2", {"sliding_window": 20}),
    "gemma3, mixed layers": (
        "gemma3_text",
        {"sliding_window": 20, "head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]},
    ),
}


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
def test_rounding_in_bfloat16_is_no_fault(tmp_path, kind):
    assert loaded(a_folder(tmp_path, kind), "bfloat16").context == CONTEXT


@pytest.mark.parametrize("name", FIT)
def test_only_live_tokens_count_in_a_window_too(tmp_path, name):
    """log pi of the state tree and of the sampler, against the network's own forward pass over the live tokens."""
    kind, settings = FIT[name]
    source = a_folder(tmp_path, kind, **settings)
    policy = loaded(source).eval()
    assert policy.context == CONTEXT
    with torch.no_grad():
        policy.bkspc_row.normal_(0, 0.1)
    prompts = [[1, *Random(k).choices(range(3, VOCABULARY), k=length)] for k, length in enumerate((140, 9, 25))]
    decoding = Decoding(40, bkspc_bias=3.0)
    rollouts, counts = sample(policy, prompts, decoding, streams=range(3), batch=3)
    assert counts.pops > 10
    own = AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager").eval()
    rows = [
        [Trajectory(prompt=p, actions=r.actions, imitated=[True] * len(r.actions))]
        for p, r in zip(prompts, rollouts, strict=True)
    ]
    inputs, (states,) = core.state_tree(rows, policy.bkspc)
    with torch.no_grad():
        tree = policy(inputs)
        for b, (prompt, rollout) in enumerate(zip(prompts, rollouts, strict=True)):
            for t in range(0, len(rollout.actions), 7):
                live = [*prompt, *core.live_tokens(prompt, rollout.actions[:t], policy.bkspc)]
                logits = own(input_ids=torch.tensor([live])).logits[0, -1]
                found = tree[b, states.state[b, t]]
                torch.testing.assert_close(found[:-1].log_softmax(-1), logits.log_softmax(-1), rtol=0, atol=1e-3)
                allowed = found if len(live) > len(prompt) else found[:-1]  # no <bkspc> where no token is live
                log_policy = allowed.log_softmax(-1)[rollout.actions[t]].item()
                assert rollout.log_policy[t] == pytest.approx(log_policy, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "settings", "context"),
    [
        ("qwen2_moe", MIXED | EXPERTS, 20),  # does not tell the attention of its window
        ("phi3", {"original_max_position_embeddings": 40, "rope_parameters": LONGROPE}, 40),
    ],
)
def test_what_long_texts_change_bounds_the_context(tmp_path, kind, settings, context):
    policy = loaded(a_folder(tmp_path, kind, **settings))
    assert policy.context == context
    with pytest.raises(UserError, match=f"context of {context} tokens"):
        sample(policy, [[1] * 10], Decoding(context), streams=[0], batch=1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("cohere", {}),
        ("bloom", {"n_layer": 2, "n_head": 2}),
        ("falcon", {"alibi": True, "ffn_hidden_size": 24}),
        ("mpt", {"d_model": 16, "n_heads": 2, "n_layers": 2, "expansion_ratio": 2}),
        ("recurrent_gemma", {"attention_window_size": 20, "lru_width": 16, "head_dim": 8}),
        ("lfm2", {"layer_types": ["conv", "full_attention"]}),
        ("gemma2", {"head_dim": 8}),  # squashes scores and logits
        ("gpt_oss", {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}),  # attention sinks
    ],
)
def test_what_depends_on_more_than_live_tokens_is_refused(tmp_path, kind, settings, precision):
    with pytest.raises(UserError, match="as Llama") as refusal:
        loaded(a_folder(tmp_path, kind, **settings), precision)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("opt", {"ffn_dim": 24, "word_embed_proj_dim": 16, "dropout": 0.3, "attention_dropout": 0.3, "layerdrop": 0.3}),
        ("falcon", {"attention_dropout": 0.3, "hidden_dropout": 0.3, "ffn_hidden_size": 24, "parallel_attn": False}),
        ("starcoder2", {"residual_dropout": 0.3, "embedding_dropout": 0.3, "attention_dropout": 0.3}),
        ("mixtral", {"num_local_experts": 4, "router_jitter_noise": 0.3, "attention_dropout": 0.3}),
        ("gpt2", GPT2 | {"attn_pdrop": 0.3, "resid_pdrop": 0.3, "embd_pdrop": 0.3}),
        ("gpt_neox", {"attention_dropout": 0.3, "hidden_dropout": 0.3}),
    ],
)
def test_training_draws_no_random_numbers(tmp_path, kind, settings):
    policy = loaded(a_folder(tmp_path, kind, **settings)).train()
    text = [1, *range(3, 30)]
    inputs, _ = core.state_tree(
        [[Trajectory(prompt=text, actions=[3, policy.bkspc, 4], imitated=[True] * 3)]], policy.bkspc
    )
    with torch.no_grad():
        assert torch.equal(policy(inputs), policy(inputs))
        torch.testing.assert_close(policy.train()(inputs), policy.eval()(inputs))


def test_chance_that_no_number_sets_is_refused(tmp_path, monkeypatch):
    from transformers.models.llama.modeling_llama import LlamaMLP

    plain = LlamaMLP.forward

    def noisy(self, x):
        return plain(self, x) + (0.1 * torch.randn_like(x) if self.training else 0)

    monkeypatch.setattr(LlamaMLP, "forward", noisy)
    with pytest.raises(UserError, match="differ in training mode"):
        loaded(a_folder(tmp_path, "llama"))


# ---- end tokens --------------------------------------------------------------------------------------


def named(folder, config=2, generation=2) -> str:
    source = a_folder(folder, "llama")
    for name, ids in (("config", config), ("generation_config", generation)):
        file = folder / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": ids}))
    return source


@pytest.mark.parametrize(
    ("config", "generation", "tokenizer", "ends"),
    [
        (2, 2, 2, {2}),
        (None, None, 5, {5}),
        ([2, 5], [2, 5], 5, {2, 5}),
        (2, [2, 7], 7, {2, 7}),
        (2, None, None, {2}),
    ],
)
def test_what_ends_a_sequence_holds_the_token_that_data_end_with(tmp_path, config, generation, tokenizer, ends):
    source = named(tmp_path, config, generation)
    policy = loaded(source, eos=tokenizer)
    assert eos_ids(policy) == ends
    (tmp_path / "saved").mkdir()
    save_policy(policy, Model(source=source), tmp_path / "saved")
    assert eos_ids(load_policy(tmp_path / "saved")[0]) == ends
    rollouts, _ = sample(policy, [[1]] * 60, Decoding(60), streams=range(60), batch=60)
    assert {r.actions[-1] for r in rollouts if r.finished} <= ends
    assert any(r.finished for r in rollouts)


@pytest.mark.parametrize(
    ("config", "generation", "tokenizer", "sentence"),
    [
        (2, 2, 5, "ends sequences by token 2, and its tokenizer by 5"),
        ([2, 3], 3, 5, "ends sequences by token 2, 3, and its tokenizer by 5"),
        (VOCABULARY, 2, 2, f"end token {VOCABULARY} of .* is none of its network's {VOCABULARY} tokens"),
        ([2, 99], 2, 2, "end token 99 of .* is none of"),
        (None, None, 50, "end token 50 of .* is none of"),
    ],
)
def test_end_tokens_that_do_not_agree_are_refused(tmp_path, config, generation, tokenizer, sentence):
    with pytest.raises(UserError, match=sentence):
        loaded(named(tmp_path, config, generation), eos=tokenizer)


def test_adapters_leave_the_log_free_of_complaints(tmp_path):
    source = a_folder(tmp_path, "llama")
    code = (
        "from sequencematch.model.build import new_policy; from sequencematch.settings.model import Model; "
        f"new_policy(Model(source={source!r}, lora_rank=2), {VOCABULARY}, {SPECIALS}, True, 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "kernels" not in done.stderr


@torch.no_grad()
def test_adapters_of_experts_merge(tmp_path):
    from sequencematch.export.folder import merged

    source = a_folder(tmp_path, "mixtral", num_local_experts=4)
    policy = new_policy(Model(source=source, lora_rank=2), VOCABULARY, SPECIALS, backspace=False, seed=0).eval()
    trained = {name: p for name, p in policy.named_parameters() if "lora" in name}
    assert any("experts" in name for name in trained)
    for parameter in trained.values():
        parameter.add_(0.1 * torch.randn_like(parameter))
    text = torch.tensor([[1, 5, 6, 7, 8, 30]])
    inputs = core.Inputs(token=text, position=torch.arange(6)[None], end=torch.full((1, 6), 6))
    expected = policy(inputs)[..., :-1].log_softmax(-1)
    torch.testing.assert_close(merged(policy)(input_ids=text).logits.log_softmax(-1), expected, rtol=0, atol=1e-4)
