"""The JSON schema by which editors complete and check ``config.yaml`` and the scales; printed.

``python -m sequencematch.config.schema > workflow/config.schema.json``
"""

import json
from typing import Any

from sequencematch.config.experiment import SECTIONS, Config


def schema() -> dict:
    """The schema of one file. A scale changes other files key by key: nothing is required, and null removes a key."""
    described = Config.model_json_schema()
    for owner in ("Task", "Method", "OverheadTable"):  # what they override is a part of a section
        fields = described["$defs"][owner]["properties"]
        fields |= {name: {"$ref": f"#/$defs/{model.__name__}"} for name, model in SECTIONS.items() if name in fields}
    return _of_a_part(described)


def _of_a_part(node: Any) -> Any:
    if isinstance(node, list):
        return [_of_a_part(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key not in ("required", "minProperties", "default", "title")}
    # Without its family, a task's data may be any family's: "oneOf" would refuse what fits several.
    part = {"anyOf" if key == "oneOf" else key: _of_a_part(value) for key, value in kept.items()}
    for key in ("properties", "patternProperties", "$defs"):
        if key in node:  # its keys are names, "title" among them
            part[key] = {name: _of_a_part(value) for name, value in node[key].items()}
    for key in ("properties", "patternProperties"):
        part |= {key: {name: _or_null(value) for name, value in part[key].items()}} if key in part else {}
    if isinstance(part.get("additionalProperties"), dict):
        part["additionalProperties"] = _or_null(part["additionalProperties"])
    return part


def _or_null(value: dict) -> dict:
    meaning = {"description": value.pop("description")} if "description" in value else {}
    return meaning | {"anyOf": [value, {"type": "null"}]}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
