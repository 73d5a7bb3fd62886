"""An exported folder gives transformers the training model's logits, and its sampler takes the actions of ours."""

import json
import os
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from support.networks import tiny_llama
from support.trained import PROMPTS, SHAPE, trained_folder
from transformers import AutoModelForCausalLM, AutoTokenizer, TextStreamer
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from sequencematch import core
from sequencematch.core import Trajectory
from sequencematch.data.pairs import columns
from sequencematch.data.tokenizer import deletion_name, pretrained_tokenizer
from sequencematch.errors import UserError
from sequencematch.export import custom_generate, folder
from sequencematch.export.folder import export_model
from sequencematch.export.prompts import MARKERS, as_trained
from sequencematch.model.build import load_policy, new_policy, save_policy
from sequencematch.sampling.rollout import Decoding, eos_ids, sample
from sequencematch.seeding import uniforms
from sequencematch.settings.model import Model
from sequencematch.store import datasets

METRICS = {
    "task": "mul",
    "eta": 0.2,
    "decodings": {"greedy": {"accuracy": 0.33, "n": 100, "correct": "1" * 33 + "0" * 67, "pops_per_sequence": 2.678}},
    "repair": {"task": {"repair_rate": 0.72, "false_alarm_rate": 0.11, "per_example": {}}},
}


@pytest.fixture(scope="module", params=[1, 3], ids="deletions={}".format)
def exported(request, tmp_path_factory):
    """The policy, its tokenizer, and the folder they were exported to."""
    root = tmp_path_factory.mktemp("export")
    policy, tokenizer = trained_folder(root / "checkpoint", SHAPE.model_copy(update={"deletions": request.param}))
    (root / "metrics.json").write_text(json.dumps(METRICS))
    export_model(root / "checkpoint", root / "exported", metrics=root / "metrics.json")
    return policy, tokenizer, root / "exported"


@pytest.fixture(scope="module")
def loaded(exported):
    folder = exported[2]
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def training_logits(policy, ids):
    """Logits [L, A] of the training model at every token of a text, and what its offset head adds [L, 1]."""
    inputs, _ = core.state_tree([[Trajectory(prompt=ids, actions=[], imitated=[])]], policy.bkspc)
    with torch.no_grad():
        hidden = policy.encode(inputs)
        scaled = (inputs.position.float() / policy.context)[..., None]
        offset = policy.offset(torch.cat([hidden.float(), scaled], -1))
        return policy.logits(hidden, inputs.position)[0], offset[0]


def assert_same_policy(policy, lm, ids, tolerance=1e-5):
    logits, offset = training_logits(policy, ids)
    with torch.no_grad():
        found = lm(input_ids=torch.tensor([ids])).logits[0].float()
    torch.testing.assert_close(found + offset, logits, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(found.log_softmax(-1), logits.log_softmax(-1), atol=tolerance, rtol=tolerance)


def test_logits_are_the_training_models_up_to_the_offset(exported, loaded):
    policy, tokenizer, _ = exported
    for text in PROMPTS:
        assert_same_policy(policy, loaded[0], tokenizer.prompt(text))


def test_the_tokenizer_puts_bos_first_and_knows_bkspc(exported, loaded):
    policy, tokenizer, _ = exported
    fast = loaded[1]
    for text in PROMPTS:
        assert fast(text)["input_ids"] == tokenizer.prompt(text)
        assert fast.decode(tokenizer.encode(text)) == text
    names = ["<bkspc>", "<bkspc_2>", "<bkspc_3>"][: policy.deletions]
    assert fast.convert_tokens_to_ids(names) == policy.deletion_ids and len(fast) == policy.bkspc + policy.deletions


@pytest.mark.parametrize("ending", MARKERS)
def test_a_prompt_without_its_blank_is_the_prompt_of_training(exported, loaded, ending):
    """At the prompt's end alone: in the middle of a text nothing is added."""
    tokenizer, fast = exported[1], loaded[1]
    text = "What is 25 + 3? Solution:"
    if ending in text:
        assert fast(text)["input_ids"] == fast(text + " ")["input_ids"] == tokenizer.prompt(text + " ")
        assert fast(text + "28")["input_ids"] == tokenizer.prompt(text + "28")
    assert as_trained(ending) == ending + " " == as_trained(as_trained(ending))


def test_markers_are_those_of_the_data():
    """What stands before completions, as the makers of data sets write it."""
    prompts = [columns([("Bonjour.", "Good day.")])["prompt"][0], *(PROMPTS[:2])]
    assert all(prompt.rstrip().endswith(MARKERS) and prompt == as_trained(prompt.rstrip()) for prompt in prompts)


def test_plain_generate_gives_ordinary_text(exported, loaded):
    policy, _, _ = exported
    model, tokenizer = loaded
    torch.manual_seed(0)
    prompt = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    for do_sample in (True, False):
        output = model.generate(**prompt, do_sample=do_sample, max_new_tokens=20, num_return_sequences=1)
        assert (output < policy.bkspc).all()


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(24),
        Decoding(24, bkspc_bias=2.0),
        Decoding(24, temperature=0.0),
        Decoding(24, temperature=1.7, top_k=6, bkspc_bias=1.0),
        Decoding(24, temperature=1.2, top_p=0.8, bkspc_bias=1.0),
    ],
    ids=str,
)
def test_the_shipped_sampler_takes_the_actions_of_ours(exported, loaded, monkeypatch, decoding):
    """In a batch of left-padded prompts of different length, with the same random numbers."""
    policy, tokenizer, _ = exported
    model, fast = loaded
    texts, streams = PROMPTS * 5, list(range(15))
    prompts = [tokenizer.prompt(text) for text in texts]
    expected, _ = sample(policy, prompts, decoding, streams, batch=4)
    numbers = torch.from_numpy(uniforms(streams, decoding.max_actions))
    monkeypatch.setattr(custom_generate, "uniform", lambda rows, steps: numbers[rows, steps])
    found = custom_generate.generate(
        model=model,
        **fast(texts, return_tensors="pt", padding=True),
        max_new_tokens=decoding.max_actions,
        do_sample=decoding.temperature > 0,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        bkspc_bias=decoding.bkspc_bias,
        return_dict_in_generate=True,
    )
    taken = {action for rollout in expected for action in rollout.actions}
    assert decoding.temperature == 0 or taken >= set(policy.deletion_ids)
    longest = max(len(prompt) for prompt in prompts)
    for b, rollout in enumerate(expected):
        n = len(rollout.actions)
        assert found.actions[b, :n].tolist() == rollout.actions
        assert (found.actions[b, n:] == -1).all()
        torch.testing.assert_close(found.log_policy[b, :n], torch.tensor(rollout.log_policy), atol=1e-4, rtol=1e-4)
        live = core.live_tokens(prompts[b], rollout.actions, policy.bkspc)
        completion = found.sequences[b, longest:]
        assert completion[: len(live)].tolist() == live and (completion[len(live) :] == 0).all()


def test_custom_generate_from_the_folder(exported, loaded):
    """For the folder's own model, for another model object, and as the model's ``generate`` where code is trusted."""
    policy, _, folder = exported
    model, tokenizer = loaded
    other = AutoModelForCausalLM.from_config(model.config)
    other.load_state_dict(model.state_dict())
    trusted = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    prompt = tokenizer(PROMPTS[:1], return_tensors="pt")
    options = {"return_dict_in_generate": True, "max_new_tokens": 20, "bkspc_bias": 2.0, "do_sample": True}
    options |= {"num_return_sequences": 8, "top_k": 0, "eos_token_id": 2, "pad_token_id": 0, "trust_remote_code": True}
    results = []
    for generate in (
        lambda: model.generate(**prompt, **options, custom_generate=str(folder)),
        lambda: other.generate(**prompt, **options, custom_generate=str(folder)),
        lambda: trusted.generate(**prompt, **options),
        lambda: trusted.generate(prompt["input_ids"], **options),
    ):
        torch.manual_seed(3)
        results.append(generate().actions)
    assert (results[0] == policy.bkspc).any()
    assert all(torch.equal(results[0], result) for result in results)


def test_streaming_shows_deletions_as_they_happen(exported, loaded, capsys):
    policy, tokenizer, folder = exported
    model, fast = loaded
    Streamer = get_class_from_dynamic_module("custom_generate/generate.BackspaceStreamer", str(folder))
    prompt = fast(PROMPTS[:1], return_tensors="pt")
    options = {"custom_generate": str(folder), "trust_remote_code": True, "bkspc_bias": 8.0, "max_new_tokens": 20}
    options |= {"return_dict_in_generate": True}
    torch.manual_seed(1)
    actions = model.generate(**prompt, **options, streamer=Streamer(fast)).actions[0].tolist()
    shown = capsys.readouterr().out
    deletions = [action for action in actions if action >= policy.bkspc]
    assert shown.count("⌫") == sum(action - policy.bkspc + 1 for action in deletions) > 0
    plain = tokenizer.render([a for a in actions if a != 2])
    for k in range(1, policy.deletions + 1):
        plain = plain.replace(deletion_name(k), "⌫" * k)
    assert shown == plain.replace("<bos>", "").replace("<pad>", "") + "\n"
    torch.manual_seed(1)
    model.generate(**prompt, **options, streamer=TextStreamer(fast, skip_prompt=True))
    assert capsys.readouterr().out.count("<bkspc") == len(deletions)


def test_the_card_says_what_it_is_also_to_a_hub(exported):
    text = (exported[2] / "README.md").read_text()
    for words in ("SequenceMatch", "results/mul/noised", "| greedy | 0.330 | 100 | 2.678 |", "0.720", "## Limits"):
        assert words in text
    card = ModelCard.load(exported[2] / "README.md")
    assert card.data.library_name == "transformers" and {"custom_generate", "sequencematch"} <= set(card.data.tags)
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_type) == ("accuracy", 0.33, "mul")


def test_the_card_shows_a_prompt_of_the_data(tmp_path):
    _, tokenizer = trained_folder(tmp_path / "checkpoint")
    prompt = tokenizer.prompt(PROMPTS[1])
    rows = {"example": [0], "draw": [0], "prompt": [prompt], "actions": [[5, 2]], "imitated": [[True, True]]}
    datasets.save({"train": rows, "validation": rows}, tmp_path / "noised", {})
    provenance = tmp_path / "checkpoint/provenance.json"
    provenance.write_text(json.dumps(json.loads(provenance.read_text()) | {"noised": str(tmp_path / "noised")}))
    export_model(tmp_path / "checkpoint", tmp_path / "out")
    assert json.dumps(PROMPTS[1]) in (tmp_path / "out/README.md").read_text()


def test_files_are_as_readable_as_the_umask_says(tmp_path):
    trained_folder(tmp_path / "checkpoint")
    before = os.umask(0o027)
    try:
        export_model(tmp_path / "checkpoint", tmp_path / "out")
    finally:
        os.umask(before)
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o640}


@pytest.mark.parametrize("named", [2, None, [2, 5], [5, 7]])
def test_the_same_tokens_end_a_sequence(tmp_path, named):
    """Those of the network's config, and the one that training data end with."""
    policy, tokenizer = trained_folder(tmp_path / "checkpoint")
    policy.lm.config.eos_token_id = named
    found = folder._generation_config(policy, tokenizer).eos_token_id
    assert {found} if isinstance(found, int) else set(found) == eos_ids(policy) | {tokenizer.special_ids["eos"]}


def test_a_deletion_head_is_exported_and_read(tmp_path):
    """The folder says by itself what our lookahead with the head does, which differs from what it does without."""
    policy, tokenizer = trained_folder(tmp_path / "checkpoint", backspace=False)
    policy.add_head()
    torch.nn.init.normal_(policy.head[2].weight)
    save_policy(policy, SHAPE, tmp_path / "checkpoint")
    export_model(tmp_path / "checkpoint", tmp_path / "exported")
    model, fast = (kind.from_pretrained(tmp_path / "exported") for kind in (AutoModelForCausalLM, AutoTokenizer))
    prompts = [tokenizer.prompt(text) for text in PROMPTS]

    def ours():
        found, _ = sample(policy, prompts, Decoding(24, 0.0, lookahead=0.75), range(len(prompts)), batch=2)
        return [rollout.actions for rollout in found]

    with_head = ours()
    given = fast(PROMPTS, return_tensors="pt", padding=True)
    found = custom_generate.generate(model=model, **given, max_new_tokens=24, return_dict_in_generate=True)
    for row, actions in zip(found.actions.tolist(), with_head, strict=True):
        assert row[: len(actions)] == actions
    policy.head = None
    assert ours() != with_head


def test_a_model_without_backspace_is_exported_plain(tmp_path):
    policy, tokenizer = trained_folder(tmp_path / "mle", backspace=False)
    export_model(tmp_path / "mle", tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = tokenizer.prompt(PROMPTS[0])
    logits, offset = training_logits(policy, ids)
    torch.testing.assert_close(model(torch.tensor([ids])).logits[0] + offset, logits[:, :-1], atol=1e-5, rtol=1e-5)
    assert not (tmp_path / "out/custom_generate").exists()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A pretrained network in a folder, with more rows than the tokenizer has tokens."""
    folder = tmp_path_factory.mktemp("base")
    tiny_llama(64).save_pretrained(folder)
    return str(folder)


def adapted(folder: Path, base: str, **options):
    from support.trained import TEXTS

    from sequencematch.data.tokenizer import Tokenizer, train_tokenizer

    plain = train_tokenizer(TEXTS)
    tokenizer = Tokenizer(plain._fast, plain._specials, bkspc=64)
    trained_folder(folder, Model(source=base, lora_rank=2, **options), tokenizer=tokenizer)
    return load_policy(folder)[0].eval(), tokenizer


@pytest.mark.parametrize("quantise", ["none", "nf4"])
def test_adapters_are_merged(tmp_path, base, quantise):
    policy, tokenizer = adapted(tmp_path / "lora", base, quantise=quantise)
    export_model(tmp_path / "lora", tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    fast = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(fast) == 65 and fast.convert_tokens_to_ids("<bkspc>") == 64
    tolerance = 1e-5 if quantise == "none" else 1e-3
    assert_same_policy(policy, model, tokenizer.prompt(PROMPTS[0]), tolerance)


@pytest.mark.parametrize("deletions", [1, 2])
def test_adapters_are_exported_for_peft(tmp_path, base, deletions):
    from peft import AutoPeftModelForCausalLM

    policy, tokenizer = adapted(tmp_path / "lora", base, deletions=deletions)
    export_model(tmp_path / "lora", tmp_path / "out", form="adapter")
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out")
    assert_same_policy(policy, model, tokenizer.prompt(PROMPTS[0]))
    fast = AutoTokenizer.from_pretrained(tmp_path / "out")
    output = model.generate(
        **fast(PROMPTS[:1], return_tensors="pt"),
        custom_generate=str(tmp_path / "out"),
        trust_remote_code=True,
        bkspc_token_id=[64, 65][:deletions],
        bkspc_bias=3.0,
        num_return_sequences=8,
        do_sample=True,
        max_new_tokens=20,
        return_dict_in_generate=True,
    )
    assert {*range(64, 64 + deletions)} <= set(output.actions.flatten().tolist())
    assert f"bkspc_token_id={policy.deletion_ids})" in (tmp_path / "out/README.md").read_text()
    assert not list((tmp_path / "out").glob("model*.safetensors"))


def test_adapters_on_experts_are_exported_for_peft(tmp_path):
    """Experts are parameters of one module, which peft names in the adapter's configuration."""
    from peft import AutoPeftModelForCausalLM
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    experts = {"num_key_value_heads": 2, "num_local_experts": 2, "num_experts_per_tok": 1}
    config = MixtralConfig(
        vocab_size=64, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, **sizes, **experts
    )
    MixtralForCausalLM(config).save_pretrained(tmp_path / "base")
    policy, tokenizer = adapted(tmp_path / "lora", str(tmp_path / "base"))
    export_model(tmp_path / "lora", tmp_path / "out", form="adapter")
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out")
    assert_same_policy(policy, model, tokenizer.prompt(PROMPTS[0]))


def test_an_exported_folder_is_a_source_with_the_bkspc_that_it_has_learned(tmp_path, exported):
    """As ``model.source`` of the pipeline: tokenizer, policy and saved policy are those of the exported model."""
    policy, tokenizer, folder = exported
    again = pretrained_tokenizer(str(folder))
    assert (again.bkspc, again.ordinary_ids) == (policy.bkspc, tokenizer.ordinary_ids)
    assert [again.prompt(text) for text in PROMPTS] == [tokenizer.prompt(text) for text in PROMPTS]
    model = Model(source=str(folder), deletions=policy.deletions)
    learned = new_policy(model, again.size, again.special_ids, backspace=False, seed=5)
    assert learned.has_learned and torch.equal(learned.bkspc_row, policy.bkspc_row)
    save_policy(learned, model, tmp_path)
    logits, _ = training_logits(policy, tokenizer.prompt(PROMPTS[0]))
    found, _ = training_logits(load_policy(tmp_path, backspace=True)[0], tokenizer.prompt(PROMPTS[0]))
    torch.testing.assert_close(found, logits)
    with pytest.raises(UserError, match=f"up to {policy.deletions} tokens at once, .*: set it to {policy.deletions}"):
        new_policy(Model(source=str(folder), deletions=2), again.size, again.special_ids, backspace=False, seed=5)


def test_bad_exports_are_refused_in_a_sentence(tmp_path):
    trained_folder(tmp_path / "checkpoint")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("")
    trained_folder(tmp_path / "kept", history="keep")
    with pytest.raises(UserError, match="reads deleted tokens"):
        export_model(tmp_path / "kept", tmp_path / "out")
    with pytest.raises(UserError, match="no trained policy"):
        export_model(tmp_path / "other", tmp_path / "out")
    with pytest.raises(UserError, match="without adapters"):
        export_model(tmp_path / "checkpoint", tmp_path / "out", form="adapter")
    with pytest.raises(UserError, match="is there: delete it"):
        export_model(tmp_path / "checkpoint", tmp_path / "other")
    with pytest.raises(UserError, match="no valid JSON"):
        export_model(tmp_path / "checkpoint", tmp_path / "out", metrics=tmp_path / "other/thesis.tex")


@pytest.mark.parametrize("output", ["file", "file/x", "x" * 250, "x\0y", "x\udcff", "", "/", ".", "checkpoint", "link"])
def test_a_target_that_cannot_be_the_folder(tmp_path, monkeypatch, output):
    trained_folder(tmp_path / "checkpoint")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        export_model(tmp_path / "checkpoint", output)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "elsewhere", "file", "link"]


TRAINED = {"seed": 1, "steps": 30, "settings": {}, "noised": "results/smoke/mul/noised/eta=0.2/seed=1"}


@pytest.mark.parametrize(
    ("metrics", "differs"),
    [
        ({"seed": 2}, "seed"),
        ({"task": "add"}, "task"),
        ({"eta": 0.1}, "eta"),
        ({"settings": {"model": {}}}, "settings"),
        ({"budget": {"steps": 31}}, "steps"),
        ({"repair": None}, "<bkspc>"),
        ({}, None),
    ],
)
def test_metrics_of_another_run_are_refused(tmp_path, metrics, differs):
    trained_folder(tmp_path / "checkpoint")
    (tmp_path / "checkpoint/provenance.json").write_text(json.dumps(TRAINED | {"stage": {"loss": "sm"}}))
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps(METRICS | {"seed": 1, "settings": {}, "budget": {"steps": 30}} | metrics))
    if differs is None:
        return export_model(tmp_path / "checkpoint", tmp_path / "out", metrics=file)
    with pytest.raises(UserError, match=f"are of another model .* differ in {differs}"):
        export_model(tmp_path / "checkpoint", tmp_path / "out", metrics=file)
    assert not (tmp_path / "out").exists()


# What somebody with transformers alone does with the folder.
