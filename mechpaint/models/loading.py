"""`load`: a TransformerBridge from a preset, a local folder, a hub name, or a module in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mechpaint.display.sanitize import short
from mechpaint.errors import LoadError, first_line
from mechpaint.models.bridges import bridge_around, bridge_of
from mechpaint.models.hugging_face import module_of, no_model, on_hub, tokenizer_of
from mechpaint.models.presets import PRESETS

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerBase


DTYPES = ("float32", "bfloat16", "float16", "float64")


def load(
    model: str | Path | nn.Module,
    *,
    device: str | torch.device | None = None,
    device_map: str | Mapping[str, str | int] | None = None,
    dtype: str | torch.dtype | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    trust_remote_code: bool = False,
) -> TransformerBridge:
    """Load a model as a TransformerBridge, in evaluation mode, with attention that hooks can read.

    Args:
        model: One of `PRESETS`; a folder that Hugging Face's `save_pretrained` wrote; the name of a model on the hub
            (which asks the network); a folder that `mechpaint.toy.save` wrote; or a Hugging Face module or a bridge in
            memory.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`; by default an accelerator if there is one. A module in memory
            stays where it is unless this is given.
        device_map: In place of a device, how Hugging Face spreads the model over several: `"auto"`, `"balanced"`,
            `"sequential"`, or which module goes where, `{"model.embed_tokens": 0, "model.layers.0": 1, …}`, where
            `"disk"` leaves weights in their file. Only for a model that is read from a folder or the hub; one in memory
            may have been spread before.
        dtype: `"float32"` (the default), `"bfloat16"`, `"float16"`, or a torch dtype. A module in memory keeps its
            own unless this is given.
        tokenizer: To use instead of the model's own. Without any, the model takes token ids only.
        trust_remote_code: Whether code that comes with the model may run.

    Raises:
        LoadError: No such model, device, dtype or architecture.
        WeightsError: The preset's packages are missing or damaged.
    """
    from torch import nn
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.toy.storage import is_toy

    given = cast(object, model)
    if not isinstance(given, str | Path | nn.Module) or given == "":
        raise LoadError(
            f"expected a preset, a folder, a name on the hub, or a Hugging Face module, got {short(model)}; "
            f"presets are {', '.join(PRESETS)}"
        )
    if tokenizer is not None and not hasattr(tokenizer, "init_kwargs"):
        raise LoadError(f"expected a tokenizer, as AutoTokenizer.from_pretrained gives, got {short(tokenizer)}")
    _check_map(model, device, device_map)
    if isinstance(model, nn.Module):
        bridge = model if isinstance(model, TransformerBridge) else bridge_around(model)
        if bridge is not None:
            return _placed(bridge, device, dtype, tokenizer)
        _move(model, device, dtype)
        return bridge_of(model, tokenizer, type(model).__name__)
    place, precision = _device(device), known_dtype(dtype or "float32")
    source = str(PRESETS[str(model)].folder() if str(model) in PRESETS else _named(model))
    if is_toy(source):
        return _toy(source, place, precision)
    if device_map is None:
        module = _move(module_of(source, str(model), precision, trust_remote_code), place, None)
    else:
        module = module_of(source, str(model), precision, trust_remote_code, device_map=device_map)
    own = tokenizer or tokenizer_of(source, trust_remote_code)
    return bridge_of(module, own, str(model))


def digest(model: TransformerBridge) -> str:
    """Hash a model's class and every parameter with SHA-256: what a run was computed with."""
    import torch
    from accelerate.utils import align_module_device

    sha256 = hashlib.sha256(str(type(model.original_model).__name__).encode())
    whole = model.original_model
    for name, _ in sorted(whole.named_parameters()):
        place, _, own = name.rpartition(".")
        module = whole.get_submodule(place)
        with align_module_device(module):  # a parameter that is kept on disk is read for this
            parameter = module.get_parameter(own).detach().cpu()
        sha256.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        sha256.update(parameter.contiguous().view(-1).view(torch.uint8).numpy().data)
    for again in _repeated(model):  # by name each parameter was hashed once
        sha256.update(again.encode())
    return sha256.hexdigest()


def _repeated(model: TransformerBridge) -> Iterator[str]:
    """The layers with parameters of an earlier one, as an unrolled model has them, in words."""
    first: dict[int, str] = {}
    layers: Sequence[nn.Module] = getattr(model, "blocks", ())
    for i, layer in enumerate(layers):
        for name, parameter in layer.named_parameters():
            known = first.setdefault(id(parameter), f"{i} {name}")
            if known != f"{i} {name}":
                yield f"{i} {name} is {known}"


def require_tokenizer(model: TransformerBridge, what: str) -> PreTrainedTokenizerBase:
    """The model's tokenizer, or a `LoadError` that says what needs one."""
    if model.tokenizer is None:
        raise LoadError(f"{what} needs a tokenizer and this model has none: mechpaint.load(model, tokenizer=...)")
    return model.tokenizer


def require_language_model(model: TransformerBridge, what: str) -> None:
    """Do nothing if the model's outputs are logits of tokens; else raise a `LoadError` that says what needs them."""
    if "unembed" not in (model.adapter.component_mapping or {}):
        raise LoadError(
            f"{what} needs a language model, and a {type(model.original_model).__name__} does not predict tokens: "
            "expected one with a language-modelling head"
        )


def _toy(folder: str, place: torch.device | None, dtype: torch.dtype | None) -> TransformerBridge:
    from mechpaint.toy.bridge import as_bridge
    from mechpaint.toy.storage import load as load_toy

    stored = load_toy(folder)
    return as_bridge(stored.model.to(device=place, dtype=dtype), stored.task)


def _named(model: str | Path) -> Path | str:
    """A folder, or a name on the hub, which is no path."""
    path, given = Path(model), str(model)
    if given.startswith("~"):
        with suppress(RuntimeError):  # of a user who does not exist
            path = path.expanduser()
    is_path = isinstance(model, Path) or given.startswith(("~", ".", "/", "\\")) or given.count("/") > 1
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:  # too long for a name, or with a NUL
        raise no_model(given, error) from error
    if exists and not is_folder:
        raise no_model(given, "it is a file")
    if is_path and not exists:
        raise no_model(given, "there is no such folder")
    return path if is_folder else on_hub(given)


def _move(module: Any, device: Any, dtype: Any) -> Any:
    """A module on a device and of a dtype; None leaves either as it is."""
    if device is None and dtype is None:
        return module
    try:
        return module.to(device=_device(device) if device is not None else None, dtype=known_dtype(dtype))
    except LoadError:
        raise
    except Exception as error:  # of offloaded and of quantised models
        raise LoadError(f"cannot move this {type(module).__name__}: {first_line(error)}") from error


def _placed(model: TransformerBridge, device: Any, dtype: Any, tokenizer: Any) -> TransformerBridge:
    if device is not None:
        model.to(_device(device))
    if dtype is not None:
        model.to(known_dtype(dtype))
    if tokenizer is not None:
        model.tokenizer = tokenizer
    model.original_model.eval()
    model.eval()
    return model


def _check_map(model: object, device: object, device_map: str | Mapping[str, str | int] | None) -> None:
    """Refuse a device map with what it cannot be for."""
    if device_map is None:
        return
    if device is not None:
        raise LoadError(f"expected a device or a device map, got both: {str(device)!r} and {device_map!r}")
    from mechpaint.toy.storage import is_toy

    if not isinstance(model, str | Path) or is_toy(PRESETS[str(model)].folder() if str(model) in PRESETS else model):
        raise LoadError(
            f"a device map is for models that Hugging Face reads from a folder or the hub, got {device_map!r} for "
            f"{model if isinstance(model, str | Path) else f'a {type(model).__name__}'}"
        )
    for place in device_map.values() if isinstance(device_map, Mapping) else ():
        if isinstance(place, str) and place != "disk":
            _device(place)


def _device(device: str | torch.device | None) -> torch.device:
    import torch

    if device is None:
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        place = torch.device(device)
        if place.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise LoadError(f"there is no device {str(device)!r} here: {first_line(error)}") from error
    return place


def known_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A torch dtype by its name."""
    import torch

    if dtype is None:
        return None
    name = str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else dtype
    if name not in DTYPES:
        raise LoadError(f"there is no dtype {short(dtype)}: expected one of {', '.join(DTYPES)}")
    return getattr(torch, name)
