"""Toy models on disk: a folder with `config.json`, `model.safetensors`, and the task's `chain.safetensors`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from mechpaint.errors import LoadError
from mechpaint.files import write_text, written
from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.chains import Chain
from mechpaint.toy.full import FullConfig, FullTransformer
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer

_KINDS: dict[str, tuple[Any, Any]] = {
    "SimplifiedTransformer": (SimplifiedConfig, SimplifiedTransformer),
    "FullTransformer": (FullConfig, FullTransformer),
}


@dataclass(frozen=True)
class Stored:
    """The contents of a saved model's folder.

    Attributes:
        model: The model.
        task: The task it was trained on; None if not saved.
        facts: Other facts saved with it, such as training settings.
    """

    model: SimplifiedTransformer | FullTransformer
    task: BigramTask | None
    facts: dict[str, Any]


def save(
    model: SimplifiedTransformer | FullTransformer, folder: str | Path, task: BigramTask | None = None, **facts: Any
) -> Path:
    """Save a model.

    Args:
        model: The model.
        folder: The folder to write; created if missing.
        task: The task it was trained on.
        facts: Other facts for `config.json`, such as training settings.

    Raises:
        CannotWrite: A full disk, or a folder that cannot be written.

    Returns:
        The folder, which `load` and `mechpaint.load` read.
    """
    folder = Path(folder)
    description: dict[str, Any] = {
        "model_type": TOY,
        "architectures": [type(model).__name__],
        "config": dataclasses.asdict(model.config),
        **facts,
    }
    if task is not None:
        description["task"] = {**task.settings(), "name": task.chain.name, "symbols": task.chain.symbols}
        law = {"initial": torch.tensor(task.chain.initial), "transitions": torch.tensor(task.chain.transitions)}
        save_tensors(law, folder / "chain.safetensors")
    save_tensors({name: tensor.detach() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    write_text(folder / "config.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    return folder


def load(folder: str | Path) -> Stored:
    """Load a model that `save` wrote.

    Args:
        folder: Its folder.

    Raises:
        LoadError: No such folder, a damaged file, or weights whose shapes do not fit the configuration.
    """
    folder = Path(folder)
    path = folder / "config.json"
    try:
        description = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        config_type, kind = _KINDS[description.pop("architectures")[0]]
        config = config_type(**description.pop("config"))
        task = _task(description.pop("task"), folder) if "task" in description else None
    except OSError as error:
        raise LoadError(f"there is no toy model in {folder}: no {path.name} ({error.strerror})") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise LoadError(
            f"{path} does not describe a toy model ({error}); mechpaint.toy.save writes such a file"
        ) from error
    model = kind(config)
    fill(model, load_tensors(folder / "model.safetensors")[0], str(folder / "model.safetensors"))
    description.pop("model_type", None)
    return Stored(model, task, description)


def _task(settings: dict[str, Any], folder: Path) -> BigramTask:
    """Rebuild the task from its settings and the stored chain."""
    law, _ = load_tensors(folder / "chain.safetensors")
    chain = Chain(tuple(settings["symbols"]), law["initial"].numpy(), law["transitions"].numpy(), settings["name"])
    own = {name: settings[name] for name in ("triggers", "fixed", "offset", "outputs", "no_repeat")}
    return BigramTask(chain, **own, held_out=tuple(settings["held_out"]))


def fill(model: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load stored weights into a model."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    stored = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | stored.keys()):
        if wanted.get(name) != stored.get(name):
            raise LoadError(
                f"{source} does not fit this model: {name} is {stored.get(name, 'missing')} in the file, "
                f"and {wanted.get(name, 'unknown')} in the model; load it with the configuration it was saved with"
            )
    model.load_state_dict(tensors)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically."""
    with written(path) as scratch:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, scratch, metadata)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and metadata of a safetensors file."""
    try:
        with cast(Any, safe_open)(path, "pt") as file:
            names = cast(list[str], list(file.keys()))
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise LoadError(f"there is no file {path}") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise LoadError(
            f"cannot read {path}: it is truncated or not a safetensors file ({error}). "
            "Copy it again from its source, or delete it and create it anew"
        ) from error


TOY = "mechpaint-toy"
"""The `model_type` in the configuration of a toy model."""


def is_toy(folder: str | Path) -> bool:
    """True if a folder holds a toy model from `mechpaint.toy.save`."""
    try:
        config: Any = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return config["model_type"] == TOY
    except (OSError, ValueError, KeyError, TypeError):
        return False
