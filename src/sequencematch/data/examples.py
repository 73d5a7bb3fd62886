"""Examples as token ids: a prompt, and the completion that is right after it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sequencematch.errors import UserError


@dataclass(frozen=True)
class Example:
    """An example without mistakes. ``<bos>`` comes first; an answer ends in ``<eos>``, a passage of text does not."""

    prompt: list[int]
    completion: list[int]
    base: int  # of the completion's digits; 0 where digits mean nothing
    text: str  # the completion's


def columns(examples: Iterable[Example]) -> dict[str, list]:
    """Examples as the columns of a split, which ``load_examples`` reads back."""
    rows = [asdict(example) for example in examples]
    return {name: [row[name] for row in rows] for name in Example.__annotations__}


def load_examples(folder: Path | str) -> tuple[dict[str, list[Example]], dict]:
    """The examples of each split (train, validation, test), and their provenance.

    The provenance has ``family``, ``counts`` and ``digest``. Raises UserError where the folder holds no examples.
    """
    from sequencematch.store.datasets import load

    dataset, provenance = load(folder)
    expected = set(Example.__annotations__)
    if "family" not in provenance or any(set(split.column_names) != expected for split in dataset.values()):
        raise UserError(f"'{folder}' holds no examples: give a folder that encode_examples wrote")
    return {name: [Example(**row) for row in split.to_list()] for name, split in dataset.items()}, provenance
