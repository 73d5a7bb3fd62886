"""``train_deletion_head``: for any causal LM of transformers, whose log-probabilities stay as they were."""

import re

import pytest
import torch
from safetensors.torch import load_file
from support.rows import ROWS, SUMS, a_model_and_its_tokenizer
from support.workflow import ROOT

from sequencematch import Decoding, Policy, UserError, sample, train_deletion_head

FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)
LOOKAHEAD = {
    "custom_generate": str(ROOT / "takeback"),
    "trust_remote_code": True,
    "do_sample": False,
    "lookahead": 0.75,
}


def test_the_network_stays_as_it_was_and_generate_decodes_as_the_pipeline(tmp_path):
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    prompts = [tokenizer(text)["input_ids"] for text, _ in SUMS[:40:10]]
    settings, before = lm.config.to_dict(), lm(torch.tensor(prompts)).logits
    head = train_deletion_head(lm, ROWS, tokenizer)
    assert torch.equal(lm(torch.tensor(prompts)).logits, before)
    assert lm.config.to_dict() == settings and lm.config._attn_implementation == "sdpa"

    policy = Policy(lm, backspace=False)
    policy.add_head()
    policy.head.load_state_dict(head)
    expected, counts = sample(policy, prompts, Decoding(20, 0.0, lookahead=0.75), range(len(prompts)), batch=2)
    options = {**LOOKAHEAD, "max_new_tokens": 20, "return_dict_in_generate": True}
    found = lm.generate(torch.tensor(prompts), **options, deletion_head=head).actions.tolist()
    assert [[a for a in row if a >= 0] for row in found] == [rollout.actions for rollout in expected]
    assert counts.pops


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    """It writes the head beside the model, where ``generate`` finds it."""
    from transformers import AutoModelForCausalLM

    (tmp_path / "takeback").symlink_to(ROOT / "takeback")
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path / "model")
    lm.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    (example,) = (code for code in FENCE.findall((ROOT / "docs/takeback.md").read_text()) if "train_del" in code)
    names = {
        "texts": [prompt + answer for prompt, answer in SUMS],
        "prompt": tokenizer("3 + 4 = ", return_tensors="pt"),
    }
    exec(example, names)
    saved = load_file(tmp_path / "model/deletion_head.safetensors")
    assert all(torch.equal(tensor, names["head"][name]) for name, tensor in saved.items())
    loaded = AutoModelForCausalLM.from_pretrained("model")
    loaded.generate(**names["prompt"], **LOOKAHEAD)
    (read,) = loaded._deletion_heads.values()
    assert read.keys() == saved.keys()


def test_what_cannot_be_trained_on_is_said(tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "state_size": 4}
    with pytest.raises(UserError, match="max_position_embeddings"):
        train_deletion_head(MambaForCausalLM(MambaConfig(vocab_size=lm.config.vocab_size, **sizes)), ROWS, tokenizer)
    for rows, words in (
        ([], "no rows"),
        (ROWS[:1], "two rows"),
        (["1 + " * 40], "context"),
        ([{}], "prompt"),
    ):
        with pytest.raises(UserError, match=words):
            train_deletion_head(lm, rows, tokenizer)
    lm.config.bkspc_token_id = 5
    with pytest.raises(UserError, match="has learned <bkspc>"):
        train_deletion_head(lm, ROWS, tokenizer)
    assert lm.config._attn_implementation == "sdpa"
