"""Toy models on disk: a folder with `config.json` and `model.safetensors`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mechpaint.errors import InputError
from mechpaint.files import write_text, written
from mechpaint.toy.full import FullConfig, FullTransformer
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer

MODEL_TYPE = "mechpaint-toy"
_KINDS: dict[str, tuple[Any, Any]] = {
    "SimplifiedTransformer": (SimplifiedConfig, SimplifiedTransformer),
    "FullTransformer": (FullConfig, FullTransformer),
}


class StoredModelError(InputError):
    """A folder or file that holds no toy model, or not the one expected."""


def save(model: SimplifiedTransformer | FullTransformer, folder: str | Path, **facts: Any) -> Path:
    """Write a model.

    Args:
        model: What to write.
        folder: Where; made if it is not there.
        facts: Anything else worth keeping in `config.json`, such as the task and how it was trained.

    Raises:
        CannotWrite: A full disk, a place that cannot be written.
    """
    folder = Path(folder)
    description = {
        "model_type": MODEL_TYPE,
        "architectures": [type(model).__name__],
        "config": dataclasses.asdict(model.config),
        **facts,
    }
    save_tensors({name: tensor.detach() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    write_text(folder / "config.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    return folder


def is_toy(folder: str | Path) -> bool:
    """Whether a folder holds a toy model."""
    path = Path(folder) / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("model_type") == MODEL_TYPE
    except (OSError, ValueError, AttributeError):
        return False


def load(folder: str | Path) -> tuple[SimplifiedTransformer | FullTransformer, dict[str, Any]]:
    """Read a model that `save` wrote: the model, and the facts beside it.

    Raises:
        StoredModelError: No such folder, a damaged file, or weights of another shape than the configuration's.
    """
    folder = Path(folder)
    path = folder / "config.json"
    try:
        description = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        config_type, kind = _KINDS[description.pop("architectures")[0]]
        config = config_type(**description.pop("config"))
    except OSError as error:
        raise StoredModelError(f"there is no toy model in {folder}: no {path.name} ({error.strerror})") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise StoredModelError(
            f"{path} does not describe a toy model ({error}); mechpaint.toy.save writes such a file"
        ) from error
    model = kind(config)
    fill(model, load_tensors(folder / "model.safetensors")[0], str(folder / "model.safetensors"))
    description.pop("model_type", None)
    return model, description


def fill(model: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Put stored weights into a model.

    Raises:
        StoredModelError: Weights that are missing, too many, or of another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise StoredModelError(
                f"{source} does not fit this model: {name} is {found.get(name, 'missing')} in the file, "
                f"and {wanted.get(name, 'unknown')} in the model; load it with the configuration it was saved with"
            )
    model.load_state_dict(tensors)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all."""
    with written(path) as scratch:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, scratch, metadata)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its metadata.

    Raises:
        StoredModelError: No such file, or one that is truncated or something else.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
            metadata = cast(Any, file).metadata() or {}
        return load_file(path), metadata
    except FileNotFoundError as error:
        raise StoredModelError(f"there is no file {path}") from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise StoredModelError(
            f"cannot read {path}: it is truncated or no safetensors file ({error}). "
            "Take it from where it came, or remove it and make it again"
        ) from error
