"""``provenance.json`` of a folder of data or of a model, which may be a stranger's: its types, checked on reading."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from sequencematch.errors import UserError
from sequencematch.store.files import read_json

FILE = "provenance.json"
Steps = Annotated[int, Field(ge=0, lt=2**53)]


class _Stage(BaseModel, strict=True):
    loss: str | None = None


class _Facts(BaseModel, strict=True):
    """The fields that we read. All are optional; other fields are ignored."""

    stage: _Stage | None = None
    settings: dict[str, Any] | None = None
    seed: int | None = None
    base_steps: Steps | None = None
    steps: Steps | None = None
    noised: str | None = None
    digest: str | None = None
    counts: dict[str, Steps] | None = None
    family: str | None = None
    language: str | None = None
    commit: str | None = None
    uncommitted_changes: bool | None = None
    packages: dict[str, str] | None = None
    machine: str | None = None
    python: str | None = None


def read_facts(folder: Path, remedy: str, *needed: str) -> dict:
    """The content of ``folder``/provenance.json. ``needed``: facts that must be there, ``stage.loss`` inside a group.

    Raises UserError, ending in ``remedy``, where it is not there, or a fact is missing or of another type.
    """
    facts = read_json(folder / FILE, remedy)
    try:
        _Facts.model_validate(facts)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise UserError(f"'{folder / FILE}' is damaged ({place}: {problem['msg']}): {remedy}") from None
    for name in needed:
        found: Any = facts
        for key in name.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if found is None:
            raise UserError(f"'{folder / FILE}' is damaged ({name} is missing): {remedy}")
    return facts
