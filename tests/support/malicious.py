"""An object whose pickle, and a network whose code, does something when it is loaded."""

import json
from pathlib import Path


class Malicious:
    """Unpickling this creates ``file``."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def add_code(network: Path, trace: Path) -> None:
    """Make a saved Llama one of a class ``Strange`` of its own, whose file writes ``trace`` when it runs."""
    config = json.loads((network / "config.json").read_text()) | {"model_type": "strange"}
    config["auto_map"] = {"AutoConfig": "strange.StrangeConfig", "AutoModelForCausalLM": "strange.Strange"}
    (network / "config.json").write_text(json.dumps(config))
    (network / "strange.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        f"open({str(trace)!r}, 'w').close()\n"
        "class StrangeConfig(LlamaConfig):\n    model_type = 'strange'\n"
        "class Strange(LlamaForCausalLM):\n    config_class = StrangeConfig\n"
    )
