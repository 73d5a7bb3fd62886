"""A model folder may be a stranger's: whatever it says, loading it ends soon, in a policy or in one sentence."""

import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.malicious import add_code
from support.networks import tiny_llama
from support.tiny import SMALL, a_policy

from sequencematch.errors import UserError
from sequencematch.model.build import load_policy, new_policy, save_policy
from sequencematch.model.network_files import network_files
from sequencematch.settings.model import Model
from sequencematch.store.hub import CONSENT


@pytest.fixture
def folder(tmp_path):
    save_policy(a_policy(), SMALL, tmp_path)
    return tmp_path


def refused(folder):
    """The sentence with which loading it ends, within seconds."""
    begun = time.monotonic()
    with pytest.raises(UserError) as caught:
        load_policy(folder)
    assert time.monotonic() - begun < 5
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["lm.safetensors", "actions.safetensors"])
def test_weights_that_are_no_numbers_are_refused(folder, name, value):
    tensors = load_file(folder / name)
    next(iter(tensors.values())).view(-1)[-1] = value
    save_file(tensors, folder / name)
    assert "no finite numbers" in refused(folder)


def whole_numbers(tensors):
    return {name: tensor.to(torch.int64) for name, tensor in tensors.items()}


def another_shape(tensors):
    return {name: tensor[:-1].clone() if tensor.dim() else tensor for name, tensor in tensors.items()}


def one_more(tensors):
    return tensors | {"lm.model.extra": torch.zeros(1)}


@pytest.mark.parametrize("change", [whole_numbers, another_shape, one_more, lambda tensors: {}])
@pytest.mark.parametrize("name", ["lm.safetensors", "actions.safetensors"])
def test_tensors_of_another_network_are_refused(folder, name, change):
    save_file(change(load_file(folder / name)), folder / name)
    assert "is damaged" in refused(folder) or "does not fit" in refused(folder)


def test_a_network_larger_than_the_memory_is_not_begun():
    with pytest.raises(UserError, match="needs more than .* GB, and this machine has"):
        new_policy(Model(layers=1024, width=2**17, heads=64), 12, {"bos": 1, "eos": 2, "pad": 0}, True, seed=0)


def test_a_folder_cannot_consent_for_its_reader(tmp_path, monkeypatch):
    """Its policy.json says trust_remote_code; code runs where the user of this machine says so, and nowhere else."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    network, folder, trace = tmp_path / "stranger", tmp_path / "model", tmp_path / "it ran"
    tiny_llama().save_pretrained(network)
    plain = Model(source=str(network), trust_remote_code=True, lora_rank=2)
    folder.mkdir()
    save_policy(new_policy(plain, 0, {}, backspace=True, seed=0), plain, folder)
    assert json.loads((folder / "policy.json").read_text())["model"]["trust_remote_code"]
    add_code(network, trace)
    said = json.loads((folder / "policy.json").read_text())  # as a stranger would have written it
    (folder / "policy.json").write_text(json.dumps(said | {"files": network_files(str(network))}))
    monkeypatch.delenv(CONSENT, raising=False)
    with pytest.raises(UserError, match="Python code that comes with it.*--trust-remote-code"):
        load_policy(folder)
    assert not trace.exists()
    monkeypatch.setenv(CONSENT, "1")
    assert load_policy(folder)[1].trust_remote_code and trace.exists()
