"""One sentence about why a model cannot be loaded from a hub or a local folder."""

import os
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.store.files import reason
from sequencematch.store.untrusted_config import CONFIG, check_config

CONSENT = "SEQUENCEMATCH_TRUST_REMOTE_CODE"

FIT = "Llama, Mistral, Qwen2, GPT-2 and GPT-NeoX are known to do"  # tested


def code_is_trusted() -> bool:
    """Whether this machine's user allows the Python code of a trained model's network to run.

    ``model.trust_remote_code`` and ``--trust-remote-code`` say so, by a variable of all processes; no folder can.
    """
    return os.environ.get(CONSENT) == "1"


def trust_code() -> None:
    """Trust that code, in this process and those that it starts."""
    os.environ[CONSENT] = "1"


def is_path(source: str) -> bool:
    """Whether the name of a model or data set is a folder's, not one of the hub (``owner/name`` or ``name``)."""
    return os.path.isdir(source) or source.startswith((".", "/", "~")) or source.count("/") > 1


def check_source(what: str, source: str) -> None:
    """Raises UserError if ``source`` can only be a path and is no folder, or is a folder without a sound model.

    what: the part (model, tokenizer) that is about to be loaded. Nothing is asked of the hub.
    """
    folder = Path(source)
    if not folder.exists() and is_path(source):
        raise UserError(
            f"cannot load the {what} of '{source}': there is no such folder (looked for in '{Path.cwd()}'); give the "
            "path of a model's folder, or its name on the hub (owner/name)"
        )
    if folder.is_file():
        raise UserError(f"'{source}' is a file: give the path of the model's folder{_conversion(folder)}")
    if folder.is_dir() and not (folder / CONFIG).is_file():
        gguf = next(iter(sorted(folder.glob("*.gguf"))), None)
        raise UserError(f"'{source}' is no model folder: it holds no {CONFIG}{_conversion(gguf) if gguf else ''}")
    if folder.is_dir():
        check_config(folder)


def _conversion(file: Path) -> str:
    """How to make a model folder of a GGUF file."""
    if file.suffix != ".gguf":
        return ""
    return (
        "; GGUF files cannot be trained, so convert it once in Python (pip install 'sequencematch[pretrained]'): from "
        "pathlib import Path; from sequencematch.model.gguf_file import convert; "
        f"convert(Path('{file.parent}'), Path('converted'))"
    )


def cannot_load(what: str, source: str, error: BaseException) -> UserError:
    """The error to raise if loading ``what`` (model, tokenizer) of the model ``source`` failed with ``error``."""
    if isinstance(error, UserError):
        return error
    if "trust_remote_code" in str(error):
        return UserError(
            f"the {what} of '{source}' is made by Python code that comes with it, which is not run by default: read "
            "that code, and if you trust it set model.trust_remote_code to true (or say --trust-remote-code)"
        )
    if "scaled_dot_product_attention" in str(error):
        return UserError(f"the network of '{source}' takes no attention mask of ours: choose one that does, as {FIT}")
    if Path(source).exists():
        return UserError(
            f"cannot load the {what} in '{source}' ({reason(error)}): a file is missing or damaged, "
            "or the model is of a kind that transformers does not know; get the folder again, or choose another model"
        )
    return UserError(
        f"cannot load the {what} of '{source}' ({reason(error)}): there is no folder of that name here, so it was "
        "looked for on the hub; check the name and your access, or give the path of a local copy of the model as "
        "model.source, or 'scratch'"
    )


def check_loaded(loaded: dict, source: str) -> None:
    """Raises UserError unless the tensors in ``source`` are those of the network, none missing and none left over.

    loaded: transformers' own account, without what a family's classes leave out. It would only warn of either, and
    answer by a network with random layers, or with fewer than there are.
    """
    without = {*loaded["missing_keys"], *(key for key, *_ in loaded["mismatched_keys"])}
    # Older versions of transformers wrote this number of a mask next to weights, and not all classes say so.
    over = {key for key in loaded["unexpected_keys"] if not key.endswith(".masked_bias")}
    for names, state in ((without, "missing or of another shape"), (over, "left over")):
        if names:
            raise UserError(
                f"the weights of '{source}' are not those of the network that its config.json describes ("
                f"{', '.join(sorted(names)[:3])}{', ...' * (len(names) > 3)} {state}): get the model again"
            )
