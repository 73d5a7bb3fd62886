"""From a dataset's rows to examples of token ids, for each family of tasks."""

from collections.abc import Callable, Mapping, Sequence

from sequencematch.data.examples import Example
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.errors import UserError
from sequencematch.settings.section import Arithmetic, Dataset, Text, Translation


def encode_question(row: Mapping, tokenizer: Tokenizer, settings: Arithmetic) -> list[Example]:
    """A question, and its solution with ``<eos>``."""
    return [
        Example(
            tokenizer.prompt(row["prompt"]), tokenizer.completion(row["completion"]), row["base"], row["completion"]
        )
    ]


def encode_pair(row: Mapping, tokenizer: Tokenizer, settings: Translation) -> list[Example]:
    """A sentence, and its translation with ``<eos>``; nothing where either is longer than ``settings.longest``.

    At its default of 64, ``<bos>`` and ``<eos>`` counted, both have fewer than 64 tokens of their own (appendix E).
    """
    prompt, completion = tokenizer.prompt(row["prompt"]), tokenizer.completion(row["completion"])
    if max(len(prompt), len(completion)) > settings.longest:
        return []
    return [Example(prompt, completion, base=0, text=row["completion"])]


def encode_document(row: Mapping, tokenizer: Tokenizer, settings: Text) -> list[Example]:
    """Consecutive passages of a document: ``settings.prompt`` tokens, ``<bos>`` first, then ``settings.continuation``.

    What is left at the end is too short and left out; so ``<eos>`` never comes.
    """
    ids = tokenizer.encode(row["text"])
    given = settings.prompt - 1  # <bos> is one of the prompt's tokens
    length = given + settings.continuation
    starts = range(0, len(ids) - length + 1, length)
    passages = [(ids[start : start + given], ids[start + given : start + length]) for start in starts]
    bos = tokenizer.special_ids["bos"]
    return [Example([bos, *prompt], completion, 0, tokenizer.decode(completion)) for prompt, completion in passages]


# By family: the section of its settings, and how one row becomes examples, none where it is left out.
FAMILIES: dict[str, tuple[type[Dataset], Callable[..., list[Example]]]] = {
    "arithmetic": (Arithmetic, encode_question),
    "translation": (Translation, encode_pair),
    "text": (Text, encode_document),
}

# Why rows are left out; of arithmetic, none is.
LEFT_OUT = {
    "translation": "longer than longest ({0.longest}) tokens",
    "text": "shorter than prompt + continuation ({0.prompt} + {0.continuation}) tokens",
}


def encode_split(
    name: str, rows: Sequence[Mapping], tokenizer: Tokenizer, settings: Dataset, context: int | None
) -> tuple[list[Example], int]:
    """The examples of a split, and the number of rows that gave none.

    context: the most tokens the model takes, if that is known. Raises UserError naming a row with more of them,
    and where a split has no example.
    """
    _, encode = FAMILIES[settings.family]
    examples, left_out = [], 0
    for number, row in enumerate(rows, start=1):
        found = encode(row, tokenizer, settings)
        examples += found
        left_out += not found
        length = max((len(example.prompt) + len(example.completion) for example in found), default=0)
        if context is not None and length > context:
            raise UserError(
                f"row {number} of split '{name}' ({found[0].text[:40]!r}) takes {length} tokens, more than the model's "
                f"context of {context}: raise model.context, or leave longer rows out"
            )
    if not examples:
        why = LEFT_OUT[settings.family].format(settings)
        raise UserError(
            f"no row of split '{name}' gives an example: all {left_out} are {why}; "
            "change these settings of the task's data, or its source"
        )
    return examples, left_out
