"""A GGUF file becomes a model folder with the same weights, and with the token that texts are to begin with."""

import subprocess
import sys

import pytest
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
    gguf_file(folder / "tiny.gguf", tiny_llama(260))
    return folder


def run(*words):
    return subprocess.run([sys.executable, SOURCE / "convert_model.py", *words], capture_output=True, text=True)


def test_the_folder_has_the_weights_and_the_tokenizer_of_the_file(files, tmp_path):
    done = run("--files", files, "--bos", "<|endoftext|>", "--output", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    lm, expected = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval(), tiny_llama(260).eval()
    assert lm.config.bos_token_id == 0 and lm.dtype == torch.float32
    text = torch.tensor([[0, 70, 71, 5]])
    with torch.no_grad():
        assert torch.allclose(lm(text).logits, expected(text).logits, atol=1e-5)
    tokenizer = pretrained_tokenizer(str(tmp_path / "model"))
    assert tokenizer.special_ids == {"pad": 2, "bos": 0, "eos": 0}
    assert tokenizer.encode("ab") == [259] and tokenizer.decode(tokenizer.encode("été ab")) == "été ab"
    new_policy(Model(source=str(tmp_path / "model"), lora_rank=2), 0, tokenizer.special_ids, True, seed=0)
    assert (tmp_path / "model.provenance.json").exists()


def test_what_cannot_be_converted_is_one_sentence(files, tmp_path):
    with pytest.raises(UserError, match="has no token '<begin>': correct the source's bos"):
        convert(files, tmp_path, "<begin>")
    with pytest.raises(UserError, match="holds 0 GGUF files, where there must be one"):
        convert(tmp_path, tmp_path)
    (tmp_path / "x.gguf").write_bytes((files / "tiny.gguf").read_bytes()[:2000])
    done = run("--files", tmp_path, "--output", tmp_path / "model")
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: cannot load the model of ")
    assert not (tmp_path / "model").exists()


def test_a_missing_gguf_package_is_asked_for_by_name(files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        convert(files, tmp_path)
    from sequencematch.script import explanation

    assert explanation(caught.value) == "this needs the package 'gguf': pip install 'sequencematch[pretrained]'"
