"""The policy: its folder gives it back exactly, and pretrained networks, adapters and 4-bit weights behave."""

import hashlib
import json
from pathlib import Path
from random import Random

import pytest
import torch
from support.malicious import add_code
from support.networks import BKSPC, BOS, random_row, tiny_llama, tiny_policy
from transformers import AutoModelForCausalLM

from sequencematch import core
from sequencematch.data.tokenizer import pretrained_tokenizer
from sequencematch.errors import UserError
from sequencematch.model.build import load_policy, new_policy, on_accelerator, save_policy
from sequencematch.model.policy import trained_tensors
from sequencematch.sampling.rollout import Decoding, sample
from sequencematch.settings.model import Model
from sequencematch.training.losses import score_rows

SPECIALS = {"bos": BOS, "eos": 2, "pad": 0}
SCRATCH = Model(layers=1, width=16, heads=2, context=64)


def some_inputs():
    rows = [random_row(Random(7)) for _ in range(2)]
    inputs, _ = core.state_tree(rows, BKSPC)
    return inputs


def randomised(policy):
    """Every trained tensor away from its initial value, so that losing one shows."""
    torch.manual_seed(3)
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return policy


@pytest.fixture
def pretrained(tmp_path):
    """A causal LM in a local folder, as a hub would deliver it."""
    folder = tmp_path / "pretrained"
    tiny_llama().save_pretrained(folder)
    return str(folder)


def models(pretrained: str) -> dict[str, Model]:
    return {
        "scratch": SCRATCH,
        "deletions": SCRATCH.model_copy(update={"deletions": 3}),
        "pretrained": Model(source=pretrained),
        "lora": Model(source=pretrained, lora_rank=2, gradient_checkpointing=True),
        "qlora": Model(source=pretrained, lora_rank=2, quantise="nf4"),
        "paper": Model(
            source=pretrained, precision="bfloat16", quantise="nf4", lora_rank=64, gradient_checkpointing=True
        ),
    }


@pytest.mark.parametrize("kind", ["scratch", "keep", "rewind", "deletions", "pretrained", "lora", "qlora", "paper"])
def test_a_saved_policy_comes_back(tmp_path, pretrained, kind):
    model = models(pretrained).get(kind, SCRATCH)
    policy = new_policy(model, BKSPC, SPECIALS, backspace=True, seed=5)
    if kind in ("keep", "rewind"):
        policy.keep(kind)
    policy = randomised(policy).eval()
    save_policy(policy, model, tmp_path)
    loaded, described = load_policy(tmp_path)
    assert described == model and loaded.history == policy.history
    inputs, _ = policy.tree([random_row(Random(7)) for _ in range(2)])
    with torch.no_grad():
        assert torch.equal(loaded.eval()(inputs), policy(inputs))
    if "lora" in kind:
        names = trained_tensors(policy)
        assert any("lora" in name for name in names)
        assert all("lora" in name or not name.startswith("lm.") for name in names)


def test_the_offset_moves_values_and_not_the_policy():
    policy, inputs = tiny_policy(), some_inputs()
    with torch.no_grad():
        before = policy(inputs)
        policy.offset[-1].bias += 2.5
        after = policy(inputs)
    assert torch.allclose(after.logsumexp(-1), before.logsumexp(-1) + 2.5, atol=1e-5)
    assert torch.allclose(after.log_softmax(-1), before.log_softmax(-1), atol=1e-5)


def test_without_backspace_the_action_is_impossible():
    policy = tiny_policy()
    policy.backspace = False
    with torch.no_grad():
        probability = policy(some_inputs()).softmax(-1)
    assert (probability[..., BKSPC] == 0).all() and torch.allclose(probability.sum(-1), torch.ones(()))


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["lora", "qlora", "paper"])
def test_a_rollout_leaves_the_gradients_as_they_were(pretrained, kind):
    """On some CPUs a 4-bit forward pass without gradients repacks the weights and spoils later gradients."""
    policy = randomised(new_policy(models(pretrained)[kind], BKSPC, SPECIALS, backspace=True, seed=5))
    policy = on_accelerator(policy)
    rows = [random_row(Random(seed)) for seed in range(3)]

    def gradients():
        policy.zero_grad()
        scored = score_rows(policy, rows)
        normaliser = core.Normaliser(trajectories=len(rows), length=5.0, cloned=5.0, model_transitions=20)
        core.sequence_match(scored[0].scores, scored[1].scores, core.Objective(), normaliser).backward()
        return {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}

    before = gradients()
    sample(policy, [[BOS, 3]] * 4, Decoding(max_actions=6), streams=range(4), batch=4)
    after = gradients()
    assert before.keys() == after.keys() and any("lora" in name for name in before)
    assert all(torch.allclose(before[name], after[name], rtol=1e-4, atol=1e-6) for name in before)


def test_an_unreachable_model_is_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="cannot load the model of 'nobody/nothing'.*local copy.*'scratch'"):
        new_policy(Model(source="nobody/nothing"), BKSPC, SPECIALS, backspace=True, seed=0)


def test_adapters_keep_the_bits_that_small_updates_need(pretrained):
    model = Model(source=pretrained, lora_rank=2, precision="bfloat16")
    policy = new_policy(model, BKSPC, SPECIALS, backspace=True, seed=0)
    assert {tensor.dtype for tensor in trained_tensors(policy).values()} == {torch.float32}
    assert policy.lm.model.embed_tokens.weight.dtype == torch.bfloat16
    assert policy.eval()(some_inputs()).isfinite().all()


def test_code_that_comes_with_a_model_runs_only_where_the_settings_say_so(tmp_path, monkeypatch):
    """A folder whose ``auto_map`` names a Python file that leaves a trace when it runs."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    folder, trace = tmp_path / "model", tmp_path / "it ran"
    tiny_llama().save_pretrained(folder)
    add_code(folder, trace)
    for load in (new_policy_of, pretrained_tokenizer):
        with pytest.raises(UserError, match="Python code that comes with it.*model.trust_remote_code to true"):
            load(str(folder))
    assert not trace.exists()
    policy = new_policy_of(str(folder), trust_remote_code=True)
    assert trace.exists() and type(policy.lm).__name__ == "Strange"


def new_policy_of(source: str, **settings):
    return new_policy(Model(source=source, **settings), BKSPC, SPECIALS, backspace=True, seed=0)


def test_an_adapter_on_other_weights_is_refused_and_named(tmp_path, pretrained):
    """policy.json names the network's files by digest, and states its own shape."""
    model = models(pretrained)["lora"]
    save_policy(new_policy(model, BKSPC, SPECIALS, backspace=True, seed=0), model, tmp_path)
    said = json.loads((tmp_path / "policy.json").read_text())
    weights = Path(pretrained) / "model.safetensors"
    assert said["files"]["model.safetensors"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert set(said["files"]) == {"config.json", "model.safetensors"}
    assert said["network"] == {"layers": 2, "width": 16, "heads": 2, "context": 64} and "width" not in said["model"]
    load_policy(tmp_path)
    lm = AutoModelForCausalLM.from_pretrained(pretrained)
    with torch.no_grad():
        lm.model.norm.weight += 0.1
    lm.save_pretrained(pretrained)
    with pytest.raises(UserError) as caught:
        load_policy(tmp_path)
    assert str(caught.value) == (
        f"the policy in '{tmp_path}' was trained on another network than the one in '{pretrained}' "
        "(model.safetensors differs): put that network back, or train the policy again"
    )


def test_a_policy_with_weights_of_its_own_needs_the_configuration_alone(tmp_path, pretrained):
    model = models(pretrained)["pretrained"]
    save_policy(new_policy(model, BKSPC, SPECIALS, backspace=True, seed=0), model, tmp_path)
    lm = AutoModelForCausalLM.from_pretrained(pretrained)
    lm.model.norm.weight.data += 0.1
    lm.save_pretrained(pretrained)
    load_policy(tmp_path)
    config = json.loads((Path(pretrained) / "config.json").read_text())
    (Path(pretrained) / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    with pytest.raises(UserError, match=r"\(config.json differs\)"):
        load_policy(tmp_path)
