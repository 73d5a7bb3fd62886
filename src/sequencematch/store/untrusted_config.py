"""``config.json`` of a model folder, which may come from a stranger: checked before anything is made of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from sequencematch.errors import UserError
from sequencematch.store.files import check_regular, read_json

CONFIG = "config.json"
MOST_BYTES = 2**24  # of config.json
MOST_INDEX = 2**26  # bytes of the list of weights
MOST_LAYERS = 2**12
MOST_ROWS = 2**24  # of the vocabulary, as of any other matrix
MOST_POSITIONS = 2**31
MOST_LABELS = 2**16  # transformers names each
LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
WIDTH = ("hidden_size", "n_embd", "d_model")
ROWS = ("vocab_size",)
# Parts of the names of settings that are sizes, and how large they may be: the first one that a name holds counts.
SIZES = (
    (re.compile(r"(^|_)n?_?layers?$"), MOST_LAYERS),
    (re.compile(r"labels$"), MOST_LABELS),
    (re.compile(r"position|seq|ctx|window"), MOST_POSITIONS),
    (re.compile(r"vocab|size|embd|dim|inner|width|heads?$|experts?$|rank|d_model|d_ff|d_kv"), MOST_ROWS),
)
# Groups of settings that networks of text alone do not have.
OTHER_THAN_TEXT = re.compile(r"text_config|vis(ion|ual)|ima?ge?|video|audio|speech|vq_|qformer|perceiver|tower|codec")


def check_config(folder: Path) -> dict:
    """The content of config.json. Raises UserError where it is no network of text alone, or a size is no size."""
    check_regular(folder)
    config = read_json(folder / CONFIG, "get the model again", MOST_BYTES)
    for index in folder.glob("*.index.json"):
        files = read_json(index, "get the model again", MOST_INDEX).get("weight_map")
        if not isinstance(files, dict) or not all(name == Path(str(name)).name for name in files.values()):
            raise UserError(f"'{index}' does not list the files of its folder: get the model again")
    kind = config.get("model_type", "of no model_type")
    if other := [name for name, value in config.items() if isinstance(value, dict) and OTHER_THAN_TEXT.search(name)]:
        raise UserError(
            f"'{folder}' is no causal language model of text alone ({kind}): its config.json has {', '.join(other)}; "
            "choose a text-only model"
        )
    check_sizes(folder, config)
    return config


def check_sizes(source: Path, config: dict) -> None:
    """Raises UserError where a size in ``config``, of the network in ``source``, is larger than any network has."""
    for name, value in named_numbers(config):
        most = next((most for pattern, most in SIZES if pattern.search(name)), None)
        if most is not None and value > most:
            raise UserError(
                f"'{source}' describes no network that can be: {name} is {value:.6g}, and may be {most:,} at most "
                "(config.json); get the model again, or choose another one"
            )


def check_memory(folder: Path, config: dict) -> None:
    """Raises UserError where the network that ``config`` describes exceeds this machine's memory even in 4 bits."""
    named = ([config[name] for name in names if isinstance(config.get(name), int)] for names in (LAYERS, WIDTH, ROWS))
    layers, width, vocabulary = (found[0] if found else 0 for found in named)
    what = f"the network of '{folder}' ({layers} layers of width {width}, {vocabulary} tokens)"
    check_fits_memory(what, (layers * 4 * width**2 + vocabulary * width) / 2)


def check_fits_memory(what: str, needed: float) -> None:
    """Raises UserError where ``what`` needs more bytes than this machine's memory has."""
    present = psutil.virtual_memory().total
    if needed > present:
        sizes = f"{needed / 1e9:,.1f} GB, and this machine has {present / 1e9:,.1f} GB"
        raise UserError(f"{what} needs more than {sizes}: choose a smaller model")


def named_numbers(values: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in nested settings, with their names; those of a list have its name."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from named_numbers(value, str(key))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from named_numbers(value, name)
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield name, values
