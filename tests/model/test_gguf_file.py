"""A GGUF file becomes a model folder with the same weights, and with the token that texts are to begin with."""

import os
import subprocess
import sys

import gguf
import numpy as np
import pytest
import tokenizers
import torch
from support.experiment import SOURCE
from support.networks import tiny_llama
from support.packages import gguf_file
from transformers import AutoModelForCausalLM

from sequencematch.data.tokenizer import pretrained_tokenizer
from sequencematch.errors import UserError
from sequencematch.model.build import new_policy
from sequencematch.model.gguf_file import convert
from sequencematch.settings.model import Model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    gguf_file(folder / "tiny.gguf", network())
    return folder


def network():
    """Of a base of positions that is not the one of files that name none."""
    return tiny_llama(260, rope_parameters={"rope_type": "default", "rope_theta": 500_000.0}).eval()


def run(*words):
    return subprocess.run([sys.executable, SOURCE / "convert_model.py", *words], capture_output=True, text=True)


def test_the_folder_has_the_weights_and_the_tokenizer_of_the_file(files, tmp_path):
    done = run("--files", files, "--bos", "<|endoftext|>", "--output", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    lm, expected = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval(), network()
    assert lm.config.bos_token_id == 0 and lm.dtype == torch.float32
    text = torch.arange(64)[None] * 7 % 260
    with torch.no_grad():
        assert torch.allclose(lm(text).logits, expected(text).logits, atol=1e-5)
    tokenizer = pretrained_tokenizer(str(tmp_path / "model"))
    assert tokenizer.special_ids == {"pad": 2, "bos": 0, "eos": 0}
    assert tokenizer.encode("ab") == [259] and tokenizer.decode(tokenizer.encode("été ab")) == "été ab"
    new_policy(Model(source=str(tmp_path / "model"), lora_rank=2), 0, tokenizer.special_ids, True, seed=0)
    assert (tmp_path / "model.provenance.json").exists()


U32 = gguf.GGUFValueType.UINT32
LETTERS = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def change(key, value):
    """Another content of a key that the file has."""

    def write(writer):
        writer.kv_data[0][f"tokenizer.ggml.{key}"].value = value

    return write


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (
            lambda w: w.add_tensor("blk.0.attn_gate.weight", np.ones((2, 2), np.float32)),
            "it has 12,756 weights, and the network .* 12,752",
        ),
        (lambda w: w.add_float32("llama.residual_scale", 0.2), "llama.residual_scale = 0.2.* is not read"),
        (lambda w: w.kv_data[0].update({"llama.block_count": gguf.GGUFValue(4000, U32)}), "are no 4,000 layers"),
        (lambda w: w.add_expert_count(8), "llama.expert_count = 8 is not read"),
        (lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.YARN), "llama.rope.scaling.type = 'yarn' is not read"),
        (lambda w: w.add_rope_scaling_factor(4.0), "llama.rope.scaling.factor = 4.0 is not read"),
        (lambda w: w.add_rope_dimension_count(4), "of another shape"),
        (lambda w: w.add_uint16("split.count", 3), "split.count = 3 is not read"),
        (lambda w: w.add_tensor("rope_freqs.weight", np.ones(4, np.float32)), "it has 12,756 weights"),
        (lambda w: w.add_tokenizer_pre("default"), "split by 'default' is not read"),
        (lambda w: w.add_remove_extra_whitespaces(True), "tokenizer.ggml.remove_extra_whitespaces = True is not read"),
        (lambda w: w.add_string("tokenizer.huggingface.json", "{}"), "tokenizer.huggingface.json = '{}' is not read"),
        (
            change("tokens", ["<|endoftext|>", "<start>", "<pad>", *LETTERS[1:], "a b", "ab"]),
            "its tokens are not those",
        ),
        (change("tokens", ["<|endoftext|>", "<start>", "<start>", *LETTERS, "ab"]), "its tokens are not those"),
        (change("merges", ["a b c"]), "PyMerges"),
        (change("eos_token_id", 900), "index out of range"),
        (change("model", "llama"), "a vocabulary of 'llama' split by"),
        (change("token_type", [3, 3, 3, *[1] * 256, 4]), "its tokens are not those"),
    ],
)
def test_what_transformers_would_drop_is_refused(tmp_path, write, sentence):
    gguf_file(tmp_path / "tiny.gguf", tiny_llama(260), write)
    with pytest.raises(UserError, match=sentence) as refusal:
        convert(tmp_path, tmp_path / "model")
    assert "\n" not in str(refusal.value) and not (tmp_path / "model").exists()


SPLITS = {"gpt-2": ["ĠĠ", "Ġ12", "'s", "Ċ"], "smollm": ["ĠĠĠ", "1", "2", "'s", "Ċ"]}


@pytest.mark.parametrize("rule", SPLITS)
def test_texts_are_split_as_the_file_says(tmp_path, rule):
    gguf_file(tmp_path / "tiny.gguf", tiny_llama(260), lambda writer: writer.add_tokenizer_pre(rule))
    convert(tmp_path, tmp_path / "model")
    fast = tokenizers.Tokenizer.from_file(str(tmp_path / "model/tokenizer.json"))
    pieces = [piece for piece, _ in fast.pre_tokenizer.pre_tokenize_str("   12's\n")]
    assert (fast.model.ignore_merges, pieces) == (False, SPLITS[rule])


def test_a_gguf_file_of_an_unknown_kind_is_not_looked_for_on_a_hub(tmp_path):
    gguf_file(tmp_path / "tiny.gguf", tiny_llama(260), architecture="of_tomorrow")
    with pytest.raises(UserError, match=r"architecture of_tomorrow is not supported") as refusal:
        convert(tmp_path, tmp_path / "model")
    assert "hub" not in str(refusal.value) and "folder of that name" not in str(refusal.value)


def test_files_that_never_end_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "tiny.gguf")
    with pytest.raises(UserError, match="not a regular file"):
        convert(tmp_path, tmp_path / "model")


def test_what_cannot_be_converted_is_one_sentence(files, tmp_path):
    with pytest.raises(UserError, match="has no token '<begin>': correct the source's bos"):
        convert(files, tmp_path, "<begin>")
    with pytest.raises(UserError, match="holds 0 GGUF files, where there must be one"):
        convert(tmp_path, tmp_path)
    (tmp_path / "x.gguf").write_bytes((files / "tiny.gguf").read_bytes()[:2000])
    done = run("--files", tmp_path, "--output", tmp_path / "model")
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: cannot load the model in ")
    assert not (tmp_path / "model").exists()
