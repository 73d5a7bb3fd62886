"""``SequenceMatchTrainer`` on networks of many kinds, and on folders that it has saved itself."""

import os

import pytest
import torch
from support.rows import ROWS, a_model_and_its_tokenizer, a_trainer, arguments
from support.tiny import next_logits
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from sequencematch import SequenceMatchTrainer, UserError

peft = pytest.importorskip("peft")
LORA = peft.LoraConfig(r=2, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")


def first_rows(trainer):
    return [(trainer.train_dataset[k],) for k in range(6)]


def texts(trainer):
    bkspc = trainer.policy.bkspc
    return [[*row.prompt, *(token for token in row.actions if token < bkspc)] for (row,) in first_rows(trainer)]


@torch.no_grad()
def log_policies(lm, trainer):
    """log pi of a saved network at the ends of texts."""
    return [lm(input_ids=torch.tensor([text])).logits[0, -1].log_softmax(-1) for text in texts(trainer)]


def assert_saved_as_trained(trainer, folder):
    trainer.save_model(folder)
    saved, policy = log_policies(AutoModelForCausalLM.from_pretrained(folder), trainer), trainer.policy.eval()
    for text, theirs in zip(texts(trainer), saved, strict=True):
        torch.testing.assert_close(theirs, next_logits(policy, text).log_softmax(-1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("how", ["peft_config", "model"])
def test_adapters_of_peft_train_and_are_saved_merged(tmp_path, how):
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path / "model")
    base = {name: tensor.clone() for name, tensor in lm.state_dict().items()}
    given = {"peft_config": LORA} if how == "peft_config" else {}
    model = lm if given else peft.get_peft_model(lm, LORA, adapter_name="mine")
    options = arguments(tmp_path / "o", max_steps=3, bc_steps=1)
    trainer = SequenceMatchTrainer(model, options, ROWS, processing_class=tokenizer, **given)
    trainer.train()
    weights = trainer.policy.lm.state_dict()
    assert all(torch.equal(weights[n.replace("proj.weight", "proj.base_layer.weight")], t) for n, t in base.items())
    assert_saved_as_trained(trainer, tmp_path / "saved")


def test_deletions_of_several_tokens_are_trained_saved_and_trained_again(tmp_path):
    """Wrong tokens come in runs, so that the data delete them at once; the folder deletes as the policy does."""
    options = {"max_steps": 4, "bc_steps": 2, "deletions": 2, "eta": 0.5}
    trainer = a_trainer(tmp_path, **options)
    policy, data = trainer.policy, {action for (row,) in first_rows(trainer) for action in row.actions}
    assert policy.deletion_ids == [policy.bkspc, policy.bkspc + 1] and data >= set(policy.deletion_ids)
    trainer.train()
    assert_saved_as_trained(trainer, tmp_path / "saved")
    prompt = AutoTokenizer.from_pretrained(tmp_path / "saved")(["3 + 4 = "] * 8, return_tensors="pt").input_ids
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").generate(
        prompt, custom_generate=str(tmp_path / "saved"), trust_remote_code=True, return_dict_in_generate=True
    )
    assert {*policy.deletion_ids} <= set(written.actions.flatten().tolist())
    assert (written.sequences < policy.bkspc).all()
    again = a_trainer(tmp_path, model=(str(tmp_path / "saved"), None), **options)
    torch.testing.assert_close(again.policy.state_dict(), policy.state_dict())
    assert first_rows(again) == first_rows(trainer)
    for model in (str(tmp_path / "saved"), policy):
        with pytest.raises(UserError, match="up to 2 tokens at once, and deletions is 1: set it to 2"):
            a_trainer(tmp_path, model=(model, trainer.processing_class))


def test_a_folder_that_cannot_be_read_is_refused_before_its_tokenizer_is(tmp_path):
    lm, _ = a_model_and_its_tokenizer(tmp_path / "model")
    lm.save_pretrained(tmp_path / "model")
    (tmp_path / "model/tokenizer.json").unlink()
    os.mkfifo(tmp_path / "model/tokenizer.json")
    with pytest.raises(UserError, match="tokenizer.json"):
        SequenceMatchTrainer(str(tmp_path / "model"), arguments(tmp_path), ROWS)


def test_adapters_that_would_be_lost_are_refused(tmp_path):
    kinds = {
        "use_dora": peft.LoraConfig(target_modules=["q_proj"], use_dora=True),
        "modules_to_save": peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]),
        "embedding or unembedding": peft.LoraConfig(target_modules=["q_proj", "lm_head"]),
        "peft_type PROMPT_TUNING": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
    }
    for name, config in kinds.items():
        lm, tokenizer = a_model_and_its_tokenizer(tmp_path / "model")
        with pytest.raises(UserError, match=name):
            a_trainer(tmp_path, model=(peft.get_peft_model(lm, config), tokenizer))


@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_folder_is_trained_on_with_the_bkspc_that_it_has_learned(tmp_path, tied):
    trainer = a_trainer(tmp_path, model=a_model_and_its_tokenizer(tmp_path / "model", tie_word_embeddings=tied))
    with torch.no_grad():
        trainer.policy.bkspc_row.normal_(0, 0.5)
        trainer.policy.offset[2].weight.normal_(0, 0.5)
    first, second, bkspc = tmp_path / "first", tmp_path / "second", trainer.policy.bkspc
    trainer.save_model(first)
    again = a_trainer(tmp_path, model=(str(first), None))
    assert again.policy.bkspc == bkspc and again.policy.has_learned
    torch.testing.assert_close(again.policy.state_dict(), trainer.policy.state_dict())
    assert first_rows(again) == first_rows(trainer)
    again.save_model(second)
    networks = [AutoModelForCausalLM.from_pretrained(folder) for folder in (first, second)]
    for one, other in zip(*(log_policies(network, trainer) for network in networks), strict=True):
        assert torch.equal(one, other)
    assert AutoTokenizer.from_pretrained(second).get_vocab() == AutoTokenizer.from_pretrained(first).get_vocab()


def test_a_network_with_dropout_is_what_its_folder_is(tmp_path):
    _, tokenizer = a_model_and_its_tokenizer(tmp_path / "tokenizer")
    size = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    lm = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **size))
    lm.save_pretrained(tmp_path / "folder")
    losses = []
    for model in (str(tmp_path / "folder"), lm.train()):
        trainer = a_trainer(tmp_path, model=(model, tokenizer))
        trainer.policy.train()
        with torch.no_grad():
            losses += [trainer._scored(first_rows(trainer)).data.scores.log_policy for _ in range(2)]
    assert all(torch.equal(losses[0], other) for other in losses[1:])
