"""The paper's scale: its constants, its memory arithmetic, and its whole path on a tiny Llama."""

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from support import reduced
from support.experiment import launched
from support.networks import tiny_llama
from support.workflow import ROOT, launch
from transformers import LlamaConfig, LlamaForCausalLM

from sequencematch.config.load import load_config, scale_overlay
from sequencematch.data.tokenizer import train_byte_tokenizer
from sequencematch.model.build import adapt
from sequencematch.store.files import read_csv

ARITHMETIC = ("mul", "add_or_sub_in_base", "list_prime_factors")
TRAINING_EXAMPLES = {"mul": 5000, "add_or_sub_in_base": 5000, "list_prime_factors": 50_000}
APPENDIX_E = {
    "model": {
        "source": "meta-llama/Llama-2-7b-hf",
        "quantise": "nf4",
        "lora_rank": 64,
        "lora_alpha": 16,
        "gradient_checkpointing": True,
        "precision": "bfloat16",
    },
    "optimiser": {"batch": 32, "warmup": 2000},
    # k steps of BC, then beta falls from 1 to 0.2 over 2,000; the rate decays from the end of the warm-up on.
    "schedule": {"base_steps": 0, "pretrain_steps": 10_000, "decay_start": 2000, "beta_final": 0.2, "beta_steps": 2000},
    "objective": {"c": 0.5, "beta_mix": 0.5, "js_delta": 0.01},
    "rollouts": {"buffer": 1000, "seen": 8, "temperature": 1.0, "top_p": 1.0, "top_k": 0},
    "noise": {"kind": "task"},
}


@pytest.mark.parametrize("task", ARITHMETIC)
def test_every_task_of_the_overlay_has_the_constants_of_appendix_e(task):
    config = load_config(ROOT / "config.yaml", *scale_overlay(ROOT / "workflow/scales", "paper"))
    assert config.etas == (0.02, 0.2)
    for method in config.methods:
        in_force = config.settings(task, method)
        for section, constants in APPENDIX_E.items():
            assert constants.items() <= in_force[section].model_dump().items()
        assert in_force["objective"].divergence == ("js" if method == "sm_js" else "chi2_mixture")
        assert in_force["data"].train == TRAINING_EXAMPLES[task]
        rollouts, batch = in_force["rollouts"], in_force["optimiser"].batch
        assert rollouts.generate * rollouts.seen / batch == 32  # "grad steps per sample" of table 4


LLAMA_2_7B = LlamaConfig(
    vocab_size=32_000, hidden_size=4096, intermediate_size=11_008, num_hidden_layers=32, num_attention_heads=32
)


def count_parameters(config, lora_rank):
    """Of a network without weights: all, those in linear layers but the unembedding, the others, LoRA's."""
    with torch.device("meta"):
        lm = LlamaForCausalLM(config)
    layers = [m for m in lm.modules() if isinstance(m, torch.nn.Linear) and m is not lm.get_output_embeddings()]
    network, linear = sum(p.numel() for p in lm.parameters()), sum(layer.weight.numel() for layer in layers)
    adapters = sum(lora_rank * (layer.in_features + layer.out_features) for layer in layers)
    return SimpleNamespace(network=network, linear=linear, other=network - linear, adapters=adapters)


def test_parameters_are_counted_as_they_are_when_made():
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2
    )
    sizes = count_parameters(config, lora_rank=4)
    lm = LlamaForCausalLM(config)
    assert sizes.network == sum(p.numel() for p in lm.parameters())
    assert sizes.other == 2 * 50 * 16 + (2 * 3 + 1) * 16  # embedding, unembedding, norms
    adapt(lm, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert sizes.adapters == sum(p.numel() for p in lm.parameters() if p.requires_grad)


def test_the_numbers_of_the_documented_arithmetic():
    """docs/paper_scale.md, number by number, from its own formulas and the network's real shape."""
    text = (ROOT / "docs/paper_scale.md").read_text()
    sizes = count_parameters(LLAMA_2_7B, lora_rank=64)
    p, q, a = sizes.network, sizes.linear, sizes.adapters
    n, d, v, r = 32, 4096, 32_000, 8
    assert all(f"| {number:,} |" in text for number in (p, q, sizes.other, a))
    fixed = [q / 2, 4 * q / 64, 2 * (p - q), 4 * a, 4 * a, 8 * a]
    growing = [[2 * r * L * d * n, 80 * r * L * d, 12 * r * L * v] for L in (128, 832)]
    growing = list(zip(*growing, strict=True))
    rollouts = [(4 * n * d + 2 * d) * 128 * T for T in (104, 512)]
    rows = [[x] for x in [*fixed, sum(fixed)]] + [*growing, map(sum, zip(*growing, strict=True))]
    rows += [[x] for x in rollouts]
    # Table rows that end in gigabytes, in order.
    written = re.findall(r"\|((?: \d+\.\d\d \|)+)$", text, re.M)
    expected = ["".join(f" {x / 1e9:.2f} |" for x in row) for row in rows]
    assert written == expected
    for number in (16 * p, 2 * p):
        assert f"= {number / 1e9:.1f} GB" in text
    for number in (4 * a, 12 * a):
        assert f" = {number / 1e9:.2f} GB" in text


@pytest.fixture(scope="module")
def tiny_llama_folder(tmp_path_factory) -> Path:
    """A Llama as the hub would deliver it, of a few thousand parameters, with more rows than tokens."""
    folder = tmp_path_factory.mktemp("tiny_llama")
    text = "What is the product of ? Solution: Calculate times Multiply and"
    tokenizer = train_byte_tokenizer([text] * 3, 300)
    tokenizer.save(folder)
    names = {f"{name}_token_id": token for name, token in tokenizer.special_ids.items()}
    sizes = {"hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 256, "initializer_range": 0.1}
    tiny_llama(tokenizer.size + 5, **sizes, **names).save_pretrained(folder)
    return folder


# What is smaller than in the overlay; model (but its source), precision, quantisation and objective are the overlay's.
SMALLER = [
    "seeds=[1]",
    "etas=[0.2]",
    "noise={draws: 1}",
    "optimiser={batch: 4, micro_batch: 2, warmup: 2}",
    "schedule={pretrain_steps: 3, steps: 6, decay_start: 2, beta_steps: 2, metrics_every: 1, validate_every: 3}",
    "rollouts={buffer: 16, generate: 8, seen: 2, max_actions: 12}",
    "evaluation={max_actions: 12, batch: 8}",
    "tasks={mul: {data: {train: 60, validation: 8, test: 8}}, translation: null, text: null}",
    "tables={table6: {methods: [sm]}, table5: null, table8: null}",
    "jobs={train: {gpu: 0, mem_mb: 2000}, sample: {gpu: 0, mem_mb: 2000}}",
]


@pytest.mark.slow
def test_the_whole_path_on_a_tiny_llama_by_one_process_and_by_two(tiny_llama_folder, tmp_path):
    reduced.make_tree(tmp_path)
    launch(tmp_path, "table6", config=["scale=paper", f"model={{source: {tiny_llama_folder}}}", *SMALLER])
    task = tmp_path / "results/paper/mul"
    model = task / "sm/eta=0.2/seed=1/model"
    assert json.loads((model / "policy.json").read_text())["model"]["quantise"] == "nf4"
    assert json.loads((task / "base/seed=1/model/provenance.json").read_text())["steps"] == 0

    # LoRA starts at B = 0: after BC and SequenceMatch every adapter has moved, and the row of <bkspc>.
    before, after = (load_file(f / "lm.safetensors") for f in (task / "base/seed=1/model", model))
    assert before.keys() == after.keys() and all("lora" in name for name in after)
    assert not any(before[name].any() for name in before if "lora_B" in name)
    assert all(after[name].any() and after[name].isfinite().all() for name in after)
    assert after[next(name for name in after if "q_proj" in name and "lora_A" in name)].shape[0] == 64
    assert json.loads((model / "provenance.json").read_text())["steps"] == 6
    assert (model.parent / "metrics.json").is_file()

    words = shlex.split(json.loads((model / "provenance.json").read_text())["command"])
    for option in ("--output", "--resume"):
        words[words.index(option) + 1] = str(tmp_path / option.strip("-"))
    words = [str(tmp_path / word) if word.startswith(("src/", "results/")) else word for word in words]
    done = launched([sys.executable, *words], 2)
    assert done.returncode == 0, done.stderr
    for row, expected in zip(
        *(read_csv(folder / "metrics.csv") for folder in (tmp_path / "output", model)), strict=True
    ):
        assert float(row["loss"]) == pytest.approx(float(expected["loss"]), rel=0.01)
        assert float(row["gradient_norm"]) == pytest.approx(float(expected["gradient_norm"]), rel=0.1)
