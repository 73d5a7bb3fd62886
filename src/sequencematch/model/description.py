"""``policy.json`` and the tensors next to it: checked, sizes included, before anything of those sizes is made.

A model folder may come from a stranger, so its content is only data: types and bounds are those of the settings, the
tensors must fit the network described, and the folder cannot allow code to run.
"""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sequencematch.errors import UserError
from sequencematch.settings.model import Model
from sequencematch.store.files import check_digest, read_json, reason
from sequencematch.store.hub import code_is_trusted
from sequencematch.store.untrusted_config import check_fits_memory

DESCRIPTION = "policy.json"
TENSORS = ("lm.safetensors", "actions.safetensors")
MOST_BYTES = 2**20  # of policy.json
Id = Annotated[int, Field(ge=0, lt=2**24)]


class SpecialIds(BaseModel):
    """Token ids as a network's configuration has them."""

    bos: Id | list[Id] | None
    eos: Id | list[Id] | None
    pad: Id | list[Id] | None


class Description(BaseModel, strict=True):
    """The content of ``policy.json``."""

    model: Annotated[Model, Field(strict=False)]
    vocabulary: int = Field(ge=1, le=2**24)
    special_ids: SpecialIds
    backspace: bool
    history: Literal["erase", "keep", "rewind"] = "erase"
    head: bool = False
    #: Of a pretrained network: the files of its folder by digest (none on the hub). Older folders do not say.
    files: dict[str, str] | None = None


def read_description(folder: Path) -> Description:
    """What ``folder`` says of its policy; the consent to code is this user's. Raises UserError without a sound file."""
    if not (folder / DESCRIPTION).exists():
        raise UserError(f"no trained policy in '{folder}' ({DESCRIPTION} is missing)")
    try:
        description = Description.model_validate(read_json(folder / DESCRIPTION, "train the model again", MOST_BYTES))
    except UserError as error:
        raise damaged(folder, str(error)) from None
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or DESCRIPTION
        raise damaged(folder, f"{place}: {problem['msg'].removeprefix('Value error, ')}") from None
    trusted = description.model.model_copy(update={"trust_remote_code": code_is_trusted()})
    return description.model_copy(update={"model": trusted})


def read_tensors(folder: Path, description: Description) -> dict[str, Tensor]:
    """The trained tensors by name. Raises UserError where they are missing, damaged or of another network."""
    tensors: dict[str, Tensor] = {}
    for name in TENSORS:
        if not (folder / name).exists():
            raise UserError(f"no trained policy in '{folder}' ({name} is missing)")
        check_digest(folder / name)
        try:
            with safe_open(folder / name, "pt") as file:
                if name == TENSORS[0]:
                    shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 (no dict)
                    _check_shapes(shapes, description, folder)
                tensors |= {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
            raise damaged(folder, reason(error)) from error
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise damaged(folder, f"'{name}' holds values that are no finite numbers")
    return tensors


def damaged(folder: Path, why: str) -> UserError:
    """The error to raise where the policy in ``folder`` cannot be used."""
    return UserError(f"the policy in '{folder}' is damaged ({why}): delete the folder and run again")


def misfit(folder: Path) -> UserError:
    """The error to raise if the tensors in ``folder`` are of another network than described."""
    return UserError(f"the policy in '{folder}' does not fit its own {DESCRIPTION}: delete the folder and run again")


def check_memory(model: Model, vocabulary: int) -> None:
    """Raises UserError where the weights of a network from scratch exceed this machine's memory."""
    each = 0.5 if model.quantise == "nf4" else 4
    needed = each * model.layers * 12 * model.width**2 + 4 * 2 * vocabulary * model.width
    check_fits_memory(f"a network of {model.layers} layers of width {model.width} and {vocabulary} tokens", needed)


def _check_shapes(shapes: dict[str, list[int]], description: Description, folder: Path) -> None:
    """Of a network from scratch, the number of layers and the matrix of the vocabulary; the rest follows on loading."""
    model = description.model
    if model.source != "scratch":
        return
    layers = {name.split(".layers.")[1].split(".")[0] for name in shapes if ".layers." in name}
    embedding = shapes.get("lm.model.embed_tokens.weight")
    expected = None if model.lora_rank else [description.vocabulary, model.width]
    if len(layers) != model.layers or embedding != expected:
        raise misfit(folder)
