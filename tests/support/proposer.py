"""A policy that proposes wrong tokens, and questions to be noised."""

from pathlib import Path

import torch

from sequencematch.data.examples import Example
from sequencematch.data.tokenizer import train_tokenizer
from sequencematch.model.build import new_policy, save_policy
from sequencematch.settings.model import Model

TOKENIZER = train_tokenizer(["In base 7, what is 12 - -3? Solution: ", "0123456789"])
BKSPC, EOS = TOKENIZER.bkspc, TOKENIZER.special_ids["eos"]


def clean(completion: str, prompt: str = "what is 12 - -3? ", base: int = 10) -> Example:
    return Example(TOKENIZER.prompt(prompt), TOKENIZER.completion(completion), base, completion)


def proposer_folder(folder: Path, unembedding: float, embedding: float = 1.0) -> Path:
    """A policy as sure as a trained one (``unembedding``), whose choice depends on the text (``embedding``)."""
    model = Model(layers=1, width=16, heads=2, context=64)
    policy = new_policy(model, TOKENIZER.size, TOKENIZER.special_ids, backspace=True, seed=0)
    with torch.no_grad():
        policy.lm.get_output_embeddings().weight.mul_(unembedding)
        policy.lm.get_input_embeddings().weight.mul_(embedding)
    save_policy(policy, model, folder)
    return folder
