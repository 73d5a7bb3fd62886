"""What is known of a pretrained model before it is loaded: its config.json, if that is on this machine."""

from functools import cache
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.store.files import read_json
from sequencematch.store.untrusted_config import MOST_BYTES

# What families of models call the number of positions.
CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")


@cache
def context_of(source: str, revision: str) -> int | None:
    """The most tokens that a model takes, by hub name or path; None if this machine does not know.

    The hub is not asked.
    """
    file = _config_file(source, revision)
    try:
        values = read_json(file, most=MOST_BYTES) if file else {}
    except UserError:
        return None  # the job that loads the model says what is wrong
    inner = values.get("text_config")
    for group in (values, inner if isinstance(inner, dict) else {}):
        for key in CONTEXT:
            if isinstance(group.get(key), int) and not isinstance(group[key], bool) and group[key] > 0:
                return group[key]
    return None


def _config_file(source: str, revision: str) -> Path | None:
    local = Path(source) / "config.json"
    if Path(source).exists():
        return local if local.is_file() else None
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(source, "config.json", revision=revision)
    except (ImportError, ValueError, OSError):  # ValueError: no name of a model
        return None
    return Path(found) if isinstance(found, str) else None
