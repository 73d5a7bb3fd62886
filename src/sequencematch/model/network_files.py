"""Which network a policy was built on: its shape, and the files of its folder by digest."""

import hashlib
import json
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.settings.model import Model
from sequencematch.store.files import sha256

FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.py")
OF_SCRATCH = {"layers", "width", "heads", "context", "initial_spread", "rope_theta"}  # they shape no other network


def network_files(source: str) -> dict[str, str]:
    """SHA-256 of the configuration, weights and code in the folder of a network, by name; none of one on the hub."""
    folder = Path(source)
    files = {file for pattern in FILES for file in folder.glob(pattern)} if source and folder.is_dir() else set()
    return {file.name: sha256(file) for file in sorted(files)}


def digest_of(files: dict[str, str]) -> str:
    """One digest of ``network_files``."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def stated(model: Model, config, context: int) -> dict:
    """The settings of a network as policy.json and provenance state them: those that it was built by.

    config: of the loaded network; context: the most tokens that it takes. ``network``: a pretrained one's own shape.
    """
    if model.source == "scratch":
        return {"model": model.model_dump()}
    names = {"layers": "num_hidden_layers", "width": "hidden_size", "heads": "num_attention_heads"}
    shape = {name: getattr(config, theirs, None) for name, theirs in names.items()}
    return {"model": model.model_dump(exclude=OF_SCRATCH), "network": shape | {"context": context}}


def check_same(found: dict[str, str], expected: dict[str, str] | None, model: Model, folder: Path) -> None:
    """Raises UserError where a policy was trained on other files than those that its network was loaded from.

    found, expected: ``network_files`` now and in training (None: not on record). Weights matter under adapters alone,
    for a policy without them brings its own.
    """
    if expected is None:
        return
    names = [
        n for n in sorted(found.keys() | expected.keys()) if model.lora_rank or not n.endswith((".safetensors", ".bin"))
    ]
    changed = [name for name in names if found.get(name) != expected.get(name)]
    if changed:
        raise UserError(
            f"the policy in '{folder}' was trained on another network than the one in '{model.source}' "
            f"({', '.join(changed)} differs): put that network back, or train the policy again"
        )
