"""A stranger's model folder: whatever its config.json says, it is used or refused in one sentence, and soon."""

import json
import os
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from sequencematch.data.tokenizer import pretrained_tokenizer
from sequencematch.errors import UserError
from sequencematch.model.build import new_policy
from sequencematch.settings.model import Model

SHAPE = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SHAPE |= {"num_key_value_heads": 1, "intermediate_size": 24, "max_position_embeddings": 32}
SPECIALS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def the_network(folder):
    return new_policy(Model(source=str(folder)), 40, {"bos": 1, "eos": 2, "pad": 0}, backspace=True, seed=0)


def the_tokenizer(folder):
    return pretrained_tokenizer(str(folder))


def refusal(folder, load=the_network):
    begun = time.monotonic()
    with pytest.raises(UserError) as caught:
        load(folder)
    assert time.monotonic() - begun < 20
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


PICTURES = {
    "gemma3": {"text_config": SHAPE, "vision_config": {}},
    "llava": {"text_config": SHAPE | {"model_type": "llama"}, "vision_config": {"model_type": "clip_vision_model"}},
    "qwen2_audio": {"text_config": SHAPE, "audio_config": {}},
    "idefics": SHAPE | {"vision_config": {}},
    "fuyu": SHAPE | {"text_config": {}},
    "qwen": SHAPE | {"visual": {"layers": 2}},
    "with_code": SHAPE | {"text_config": {}, "speech_config": {}, "auto_map": {"AutoConfig": "its.Own"}},
}


@pytest.mark.parametrize("load", [the_network, the_tokenizer])
@pytest.mark.parametrize("kind", PICTURES)
def test_a_network_of_more_than_text_is_refused_by_its_name(tmp_path, load, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, **PICTURES[kind]}))
    assert f"is no causal language model of text alone ({kind})" in refusal(tmp_path, load)


def test_a_network_larger_than_the_memory_is_not_begun(tmp_path):
    content = {"model_type": "llama", **SHAPE, "num_hidden_layers": 4000, "hidden_size": 2**20}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert "needs more than" in refusal(tmp_path)


@pytest.fixture
def sound(tmp_path):
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SHAPE, **SPECIALS, initializer_range=0.3))
    lm.save_pretrained(tmp_path)
    return tmp_path


def test_sizes_of_real_networks_are_none_of_those(sound):
    assert the_network(sound).context == 32
    large = {"vocab_size": 262144, "hidden_size": 16384, "num_hidden_layers": 126, "max_position_embeddings": 10**7}
    content = json.loads((sound / "config.json").read_text())
    (sound / "config.json").write_text(json.dumps(content | large | {"rope_theta": 1e9}))
    assert "describes no network" not in refusal(sound)


def test_a_layer_without_weights_is_not_drawn_at_random(sound):
    """transformers would only warn, and train a network that nobody has pretrained."""
    content = json.loads((sound / "config.json").read_text())
    (sound / "config.json").write_text(json.dumps(content | {"num_hidden_layers": 2}))
    assert "missing or of another shape" in refusal(sound)


@pytest.mark.parametrize("layers", [2, 1, 0, -1])
def test_no_network_is_cut_to_fewer_layers_than_there_are_weights(tmp_path, layers):
    config = AutoConfig.for_model("llama", **SHAPE | {"num_hidden_layers": 3}, **SPECIALS)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | {"num_hidden_layers": layers}))
    assert "model.layers" in (said := refusal(tmp_path)) and "left over" in said


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_buffers_of_older_versions_are_not_left_over(tmp_path, kind):
    """A tied head, rotary frequencies and causal masks, as checkpoints on hubs have them."""
    gpt2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32, "vocab_size": 40}
    config = AutoConfig.for_model(kind, **(gpt2 if kind == "gpt2" else SHAPE), **SPECIALS, tie_word_embeddings=True)
    lm = AutoModelForCausalLM.from_config(config)
    lm.save_pretrained(tmp_path)
    older = {
        "llama": {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)},
        "gpt2": {
            "transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32),
            "transformer.h.0.attn.masked_bias": torch.ones(1),
        },
    }[kind] | {"lm_head.weight": lm.lm_head.weight.detach().clone()}
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | older, tmp_path / "model.safetensors", {"format": "pt"})
    assert the_network(tmp_path).context == 32


def test_a_tensor_that_is_missing_or_of_another_shape_is_named(sound):
    tensors = load_file(sound / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    save_file({k: v for k, v in tensors.items() if k != name}, sound / "model.safetensors", {"format": "pt"})
    assert name in refusal(sound)
    save_file(tensors | {name: tensors[name][:-1].clone()}, sound / "model.safetensors", {"format": "pt"})
    assert refusal(sound)


def test_no_pad_token_was_once_minus_one(sound):
    content = json.loads((sound / "config.json").read_text())
    (sound / "config.json").write_text(json.dumps(content | {"pad_token_id": -1}))
    assert the_network(sound).lm.config.pad_token_id is None


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "x.gguf"])
@pytest.mark.parametrize("load", [the_network, the_tokenizer])
def test_files_that_never_end_are_refused_by_name(sound, name, load):
    (sound / name).unlink(missing_ok=True)
    os.mkfifo(sound / name)
    assert name in refusal(sound, load)
    (sound / name).unlink()
    (sound / name).symlink_to("/dev/zero")
    assert name in refusal(sound, load)
