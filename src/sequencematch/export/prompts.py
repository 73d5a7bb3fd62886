"""The form of prompts: a model does what it was trained to do only where a prompt ends in the tokens of training."""

from pathlib import Path

import tokenizers

from sequencematch.data.tokenizer import Tokenizer
from sequencematch.errors import UserError

# The words before a completion, without the blank that follows them in data ("{question} Solution: {solution}"). If a
# user leaves out the blank, the model sees other tokens than in training.
MARKERS = ("Solution:", "Translation:")
LONGEST = 300  # characters of a prompt that a card shows
INVENTED = ("What is 3 * 4? Solution: ", "The ")


def as_trained(prompt: str) -> str:
    """The prompt with the blank that prompts of training data end with."""
    return prompt + " " if prompt.endswith(MARKERS) else prompt


def complete_prompts(fast: tokenizers.Tokenizer) -> None:
    """Make the tokenizer encode every text as ``as_trained`` writes it."""
    from tokenizers import Regex
    from tokenizers.normalizers import Replace, Sequence

    # First of all normalisers: others may write blanks in a way of their own.
    blanks = [Replace(Regex(rf"{marker}\z"), f"{marker} ") for marker in MARKERS]
    fast.normalizer = Sequence([*blanks, *([fast.normalizer] if fast.normalizer is not None else [])])


def real_prompt(provenance: dict, tokenizer: Tokenizer) -> str:
    """A prompt from the validation data that a model's provenance names; an invented one where they are missing."""
    from sequencematch.store import datasets

    noised = provenance.get("noised")
    try:
        if not isinstance(noised, str) or not Path(noised).is_dir():
            raise UserError("the data are not there")
        prompts = datasets.load(noised)[0]["validation"]["prompt"]
        texts = [tokenizer.decode(prompts[k][1:]) for k in range(min(50, len(prompts)))]
        return min((text for text in texts if 0 < len(text) <= LONGEST), key=len)
    except (UserError, KeyError, ValueError):
        return next((text for text in INVENTED if _encodes(tokenizer, text)), "")


def _encodes(tokenizer: Tokenizer, text: str) -> bool:
    try:
        return tokenizer.decode(tokenizer.encode(text)) == text
    except UserError:
        return False
