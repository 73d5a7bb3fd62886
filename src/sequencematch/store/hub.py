"""Why something cannot be had from a hub (or a local folder), in one sentence."""

from sequencematch.errors import UserError

FIT = "Llama, Mistral, Qwen2, GPT-2 and GPT-NeoX are known to do"  # tested


def cannot_load(what: str, source: str, error: Exception) -> UserError:
    """The error to raise where loading ``what`` (model, tokenizer) of the model ``source`` failed with ``error``."""
    if "trust_remote_code" in str(error):
        return UserError(
            f"the {what} of '{source}' is made by Python code that comes with it, which is not run unasked: read that "
            "code, and if you trust it set model.trust_remote_code to true"
        )
    if "scaled_dot_product_attention" in str(error):
        return UserError(f"the network of '{source}' takes no attention mask of ours: choose one that does, as {FIT}")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"cannot load the {what} of '{source}' ({reason}): check the name and your access, "
        "or give the path of a local copy of the model as model.source, or 'scratch'"
    )
