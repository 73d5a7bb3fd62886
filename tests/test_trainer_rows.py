"""Rows in TRL's formats: the ids of training are those that the saved tokenizer gives."""

import pytest
from support.rows import a_model_and_its_tokenizer, a_trainer
from tokenizers import processors
from transformers import AutoTokenizer, GenerationConfig

from sequencematch import UserError
from sequencematch.model.policy import id_set

TURN = "<|start|>{{ m['role'] }}: {{ m['content'] }}<|end|>\n"
ASKED = "{% if add_generation_prompt %}<|start|>assistant: {% endif %}"
TEMPLATE = (
    "{% if tools %}tools: {{ tools | length }}{% endif %}{% if loud %}loud {% endif %}"
    "{% for m in messages %}" + TURN + "{% endfor %}" + ASKED
)
ALPHABET = "abcdefghijklmnopqrstuvwxyzTS:<|>1234567890\n ."
ASK = [{"role": "user", "content": "one"}]


def chat_model(folder, adds_bos=True):
    lm, tokenizer = a_model_and_its_tokenizer(folder, ALPHABET)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|start|>", "<|end|>"]})
    tokenizer.chat_template = TEMPLATE
    if adds_bos:
        single = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
        tokenizer.backend_tokenizer.post_processor = single
    lm.resize_token_embeddings(len(tokenizer))
    return lm, tokenizer


def assistant(*texts):
    return [{"role": "assistant", "content": text} for text in texts]


def rendered(tokenizer, messages, **options):
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)


FORMATS = {
    "texts": {"prompt": "a b", "completion": "c"},
    "a marker": {"prompt": "a Translation:", "completion": " c"},
    "messages": {"prompt": ASK, "completion": assistant("two")},
    "tools": {"prompt": ASK, "completion": assistant("two"), "tools": [{"type": "function"}]},
    "template": {"prompt": ASK, "completion": assistant("two"), "chat_template_kwargs": {"loud": True}},
    "template, as JSON": {"prompt": ASK, "completion": assistant("two"), "chat_template_kwargs": '{"loud": true}'},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("adds_bos", [True, False])
def test_the_saved_tokenizer_gives_the_ids_of_training(tmp_path, name, adds_bos):
    lm, tokenizer = chat_model(tmp_path / "model", adds_bos)
    row = FORMATS[name]
    trainer = a_trainer(tmp_path, [row], model=(lm, tokenizer), eta=0.0)
    (trained,) = trainer.train_dataset.corpus.draws[0]
    trainer.save_model(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    if isinstance(row["prompt"], str):
        prompt = saved(row["prompt"])["input_ids"]
    else:
        options = {"tools": row.get("tools"), "loud": "chat_template_kwargs" in row}
        prompt = saved(rendered(saved, row["prompt"], **options), add_special_tokens=False)["input_ids"]
    assert trained.prompt == prompt
    if isinstance(row["prompt"], str):
        assert prompt == tokenizer(row["prompt"])["input_ids"]  # of the tokenizer that was given, too
    again = a_trainer(tmp_path, [row], model=(str(tmp_path / "saved"), None), eta=0.0)
    assert again.train_dataset.corpus.draws == trainer.train_dataset.corpus.draws


def test_data_and_rollouts_end_by_the_turns_end(tmp_path):
    """The template ends a turn with a token that the network does not name; what follows it is left out."""
    lm, tokenizer = chat_model(tmp_path / "model")
    trainer = a_trainer(tmp_path, [FORMATS["messages"]], model=(lm, tokenizer), eta=0.0)
    (trained,) = trainer.train_dataset.corpus.draws[0]
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert trained.actions[-1] == end and trained.actions.count(end) == 1
    assert end in id_set(trainer.policy.lm.config.eos_token_id)
    trainer.save_model(tmp_path / "saved")
    assert end in GenerationConfig.from_pretrained(tmp_path / "saved").eos_token_id


def test_rows_that_a_template_has_rendered_are_those_messages(tmp_path):
    lm, tokenizer = chat_model(tmp_path / "model")
    text = {"prompt": "<bos>" + rendered(tokenizer, ASK), "completion": "two<|end|>\n"}
    tokenizer.chat_template = "<bos>" + TEMPLATE
    rows = [FORMATS["messages"], text]
    trainer = a_trainer(tmp_path, rows, model=(lm, tokenizer), eta=0.0)
    messages, as_text = trainer.train_dataset.corpus.draws[0]
    assert (messages.prompt, messages.actions) == (as_text.prompt, as_text.actions)
    assert messages.prompt.count(1) == 1


def test_each_turn_of_the_assistant_is_an_example(tmp_path):
    lm, tokenizer = chat_model(tmp_path / "model")
    turns = [*assistant("two"), {"role": "user", "content": "three"}, *assistant("four")]
    rows = [{"prompt": ASK, "completion": turns}, {"prompt": [*ASK, *turns[:2]], "completion": turns[2:]}]
    trainer = a_trainer(tmp_path, rows, model=(lm, tokenizer), eta=0.0)
    first, last, alone = trainer.train_dataset.corpus.draws[0]
    assert tokenizer.decode(first.actions) == "two<|end|>" and last == alone
    assert last.prompt[: len(first.prompt)] == first.prompt


def test_a_token_does_not_reach_over_the_end_of_a_prompt(tmp_path):
    """The answer is written after the prompt's own tokens, here without the blank."""
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path / "model", ALPHABET, "assistant: two")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}.{% endfor %}"
    tokenizer.chat_template += "{% if add_generation_prompt %}assistant:{% endif %}"
    trainer = a_trainer(tmp_path, [FORMATS["messages"]], model=(lm, tokenizer), eta=0.0)
    (trained,) = trainer.train_dataset.corpus.draws[0]
    assert "assistant: " in tokenizer.get_vocab()
    assert trained.prompt == tokenizer("user: one.assistant:")["input_ids"]
    assert tokenizer.decode(trained.actions, skip_special_tokens=True) == " two."


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": ASK, "completion": ASK}, "no message of the assistant"),
        ({"prompt": "a", "completion": "b<|end|> c"}, "goes on after the token that ends it"),
        ({"prompt": "a<bkspc>", "completion": "b"}, "contains <bkspc>"),
        ({"prompt": "?", "completion": "b"}, "cannot encode '\\?'"),
        ({"prompt": ["one"], "completion": assistant("two")}, "two texts or two lists of messages"),
        ({**FORMATS["messages"], "tools": "a tool"}, "chat template does not take its messages"),
    ],
)
def test_rows_that_cannot_be_trained_on(tmp_path, row, sentence):
    with pytest.raises(UserError, match=f"row 2 of the dataset: .*{sentence}"):
        a_trainer(tmp_path, [FORMATS["messages"], row], model=chat_model(tmp_path / "model"))


def test_messages_need_a_template(tmp_path):
    with pytest.raises(UserError, match="row 1 of the dataset: the tokenizer's chat template does not take"):
        a_trainer(tmp_path, [FORMATS["messages"]])


def test_a_name_of_bkspc_that_is_taken_is_known_before_training(tmp_path):
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    tokenizer.add_tokens(["<bkspc>", "more"])
    lm.resize_token_embeddings(len(tokenizer))
    with pytest.raises(UserError, match="named <bkspc>"):
        a_trainer(tmp_path, [FORMATS["texts"]], model=(lm, tokenizer))
