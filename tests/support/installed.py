"""Runs the example and a trainer with what is installed: ``installed.py EXAMPLES FOLDER``. No test library needed."""

import importlib.metadata
import sys

import tokenizers
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import sequencematch as sm

BOS, EOS, WORDS = 0, 1, range(3, 8)


def main(examples: str, folder: str) -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, examples)
    import own_loop

    torch.manual_seed(0)
    pairs = torch.randint(min(WORDS), max(WORDS) + 1, (50, 2)).tolist()
    data = [([BOS, *pair], [*pair, EOS]) for pair in pairs]  # repeat the prompt's two tokens
    lm, texts = network(), torch.tensor([prompt + completion for prompt, completion in data])
    before = lm(input_ids=texts, labels=texts).loss.item()
    list(own_loop.train(lm, data, list(WORDS), steps=40))
    assert lm(input_ids=texts, labels=texts).loss.item() < 0.9 * before
    train_on_texts(folder)
    print(*(f"{d.metadata['Name']}=={d.version}".lower() for d in importlib.metadata.distributions()), sep="\n")


def train_on_texts(folder: str) -> None:
    """``SequenceMatchTrainer`` on prompts and completions."""
    words = {
        "<bos>": BOS,
        "<eos>": EOS,
        "<pad>": 2,
        **{letter: token for token, letter in zip(WORDS, "abcde", strict=True)},
    }
    fast = tokenizers.Tokenizer(tokenizers.models.WordLevel(words))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    fast.add_special_tokens(["<bos>", "<eos>", "<pad>"])
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, **names)
    steps = {"max_steps": 4, "bc_steps": 2, "max_actions": 6, "rollouts_generated": 16}
    arguments = sm.SequenceMatchConfig(folder, report_to="none", use_cpu=True, disable_tqdm=True, **steps)
    rows = [{"prompt": letters, "completion": letters} for letters in ("ab", "bc", "cd", "de")]
    trainer = sm.SequenceMatchTrainer(network(), arguments, rows, processing_class=tokenizer)
    trainer.train()
    trainer.save_model(f"{folder}/saved")
    assert trainer.state.global_step == 4


def network() -> LlamaForCausalLM:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=max(WORDS) + 1, max_position_embeddings=64, **sizes, **special))


if __name__ == "__main__":
    main(*sys.argv[1:])
