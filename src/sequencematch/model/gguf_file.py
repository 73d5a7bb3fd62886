"""Model folders of transformers from GGUF files, the form in which llama.cpp's quantised models are handed on."""

from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.store.hub import cannot_load


def convert(files: Path, folder: Path, bos: str = "") -> None:
    """Write the network (float32) and the tokenizer of the one GGUF file below ``files`` to ``folder``.

    bos: the token that texts begin with; empty: the one that the file names. Raises UserError where there is no such
    file or token, or transformers cannot read it.
    """
    import gguf  # noqa: F401  (transformers needs it, and says so less clearly)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = sorted(files.rglob("*.gguf"))
    if len(found) != 1:
        raise UserError(f"'{files}' holds {len(found)} GGUF files, where there must be one: name it in inside")
    where = {"pretrained_model_name_or_path": found[0].parent, "gguf_file": found[0].name}
    try:
        loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**where)
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, as the file may be
        raise cannot_load("model", str(found[0]), error) from error
    # What was read from a GGUF file refuses to be saved; a fresh network of the same configuration does not.
    config = loaded.config
    del config.quantization_config
    lm = AutoModelForCausalLM.from_config(config)
    lm.load_state_dict(loaded.state_dict())
    lm.tie_weights()
    if bos:
        token = tokenizer.get_vocab().get(bos)
        if token is None:
            raise UserError(f"'{found[0]}' has no token {bos!r}: correct the source's bos")
        tokenizer.bos_token, lm.config.bos_token_id, lm.generation_config.bos_token_id = bos, token, token
    lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
