"""From a dataset's rows to examples of token ids.

A tokenizer may change a text's spaces, case or Unicode form. What a model writes is decoded, so it is compared with the
decoded reference. A tokenizer that loses characters of a question or an answer is refused.
"""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from sequencematch.data.examples import Example
from sequencematch.data.tokenizer import Tokenizer
from sequencematch.errors import UserError
from sequencematch.settings.data import Dataset, Text
from sequencematch.settings.families import FAMILIES


def encode_pair(row: Mapping, tokenizer: Tokenizer, settings: Dataset) -> list[Example]:
    """A question, and its answer with ``<eos>``. Empty if either is longer than ``settings.longest``, if there is one.

    At the default of 64, which counts ``<bos>`` and ``<eos>``, both have fewer than 64 tokens of text (appendix E).
    """
    prompt, completion = tokenizer.prompt(row["prompt"]), tokenizer.completion(row["completion"])
    if max(len(prompt), len(completion)) > getattr(settings, "longest", math.inf):
        return []
    _check_survives(row["prompt"], prompt, tokenizer)
    return [Example(prompt, completion, row.get("base", 0), _check_survives(row["completion"], completion, tokenizer))]


def encode_document(row: Mapping, tokenizer: Tokenizer, settings: Text) -> list[Example]:
    """Consecutive passages of a document: ``settings.prompt`` tokens, ``<bos>`` first, then ``settings.continuation``.

    The rest at the end is too short and is left out, so no passage has ``<eos>``.
    """
    ids = tokenizer.encode(row["text"])
    given = settings.prompt - 1  # <bos> is one of the prompt's tokens
    length = given + settings.continuation
    starts = range(0, len(ids) - length + 1, length)
    passages = [(ids[start : start + given], ids[start + given : start + length]) for start in starts]
    bos = tokenizer.special_ids["bos"]
    return [Example([bos, *prompt], completion, 0, tokenizer.decode(completion)) for prompt, completion in passages]


def _check_survives(text: str, ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The text that ``tokenizer`` decodes from ``ids``, its encoding of ``text``.

    It may differ from ``text`` in spaces, case and Unicode form only. Raises UserError if other characters are lost.
    """
    decoded = tokenizer.decode(ids)
    if decoded != text and _characters(decoded) != _characters(text):
        lost = sorted(set(_characters(text)) - set(_characters(decoded)))
        what = f"; it loses {', '.join(map(repr, lost[:5]))}" if lost else ""
        raise UserError(
            f"the tokenizer turns {text[:80]!r} into {decoded[:80]!r}{what}: choose a model whose tokenizer keeps "
            "every character, or leave such rows out of the data"
        )
    return decoded


def _characters(text: str) -> str:
    """A text without spaces, control characters, case and Unicode form."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in folded if unicodedata.category(c)[0] not in "CZ")


def encode_split(
    name: str,
    rows: Sequence[Mapping],
    tokenizer: Tokenizer,
    settings: Dataset,
    context: int | None,
) -> tuple[list[Example], int, dict[int, tuple[str, str]]]:
    """A split as examples; the number of rows without any; how each row, from 1, begins that the tokenizer changes.

    context: the most tokens the model takes, if that is known. Raises UserError with the first row that has more
    tokens, or characters that the tokenizer loses, and if a split has no example.
    """
    # How a row becomes examples, the column of the text that the model has to write, and why rows are left out.
    encode: Callable[..., list[Example]] = encode_document
    written, why = "text", "shorter than prompt + continuation ({0.prompt} + {0.continuation}) tokens"
    if FAMILIES[settings.family].reference:
        encode, written, why = encode_pair, "completion", "longer than longest ({0.longest}) tokens"
    examples: list[Example] = []
    left_out, altered = 0, {}
    for number, row in enumerate(rows, start=1):
        try:
            found = encode(row, tokenizer, settings)
        except UserError as error:
            raise UserError(f"row {number} of split '{name}': {error}") from error
        examples += found
        left_out += not found
        decoded = tokenizer.decode(tokenizer.encode(row[written])) if found else row[written]
        if decoded != row[written]:
            altered[number] = (row[written][:80], decoded[:80])
        length = max((len(example.prompt) + len(example.completion) for example in found), default=0)
        if context is not None and length > context:
            raise UserError(
                f"row {number} of split '{name}' ({found[0].text[:40]!r}) takes {length} tokens, more than the model's "
                f"context of {context}: raise model.context, or leave longer rows out"
            )
    if not examples:
        raise UserError(
            f"no row of split '{name}' gives an example: all {left_out} are {why.format(settings)}; change these "
            "settings"
        )
    return examples, left_out, altered
