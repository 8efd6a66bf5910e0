"""`load`: a TransformerBridge from a preset, a local folder, a hub name, or a module in memory."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mechpaint.errors import LoadError
from mechpaint.models.encoders import minilm_folder, rxnfp_folder
from mechpaint.models.gemma import gemma_folder
from mechpaint.models.weights import check_report, with_adapter

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerBase


def _random_triggers() -> Path:
    """A toy with an induction head, 2 layers: triggers differ from sequence to sequence. In mechpaint's own package."""
    return Path(__file__).parents[1] / "toy" / "checkpoint" / "toy-induction"


def _fixed_triggers() -> Path:
    """The same for five triggers that are always the same characters."""
    return Path(__file__).parents[1] / "toy" / "checkpoint" / "toy-induction-fixed"


PRESETS: dict[str, Callable[[], Path]] = {
    "gemma-3-270m": gemma_folder,
    "minilm": minilm_folder,
    "rxnfp": rxnfp_folder,
    "toy-induction": _random_triggers,
    "toy-induction-fixed": _fixed_triggers,
}
"""Models that need no hub: from a name to the folder that holds the model."""
_STORED = "mechpaint_stored"
_BRIDGE = "mechpaint_bridge"
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

    _check_map(model, device, device_map)
    if isinstance(model, nn.Module):
        bridge = model if isinstance(model, TransformerBridge) else _bridge_around(model)
        if bridge is not None:
            return _placed(bridge, device, dtype, tokenizer)
        _move(model, device, dtype)
        return bridge_of(model, tokenizer, type(model).__name__)
    place, precision = _device(device), known_dtype(dtype or "float32")
    source = str(PRESETS[str(model)]() if str(model) in PRESETS else _named(model))
    if is_toy(source):
        return _toy(source, place, precision)
    if device_map is None:
        module = _move(_hugging_face(source, str(model), precision, trust_remote_code), place, None)
    else:
        module = _hugging_face(source, str(model), precision, trust_remote_code, device_map=device_map)
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
    return sha256.hexdigest()


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


def stored_tokenizer(model: TransformerBridge) -> PreTrainedTokenizerBase | None:
    """The model's tokenizer as it was before TransformerLens gave it special tokens and a padding side.

    Only `load` keeps it; a bridge that was made elsewhere has its tokenizer as it is.
    """
    return getattr(model.tokenizer, _STORED, model.tokenizer)


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
        raise _no_model(given, error) from error
    if exists and not is_folder:
        raise _no_model(given, "it is a file")
    if is_path and not exists:
        raise _no_model(given, "there is no such folder")
    return path if is_folder else given


def _bridge_around(module: nn.Module) -> TransformerBridge | None:
    """The bridge that was made of a module before: a second one would take the hook points of the first."""
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    made: TransformerBridge | None = vars(module).get(_BRIDGE)
    if made is None and any(isinstance(part, GeneralizedComponent) for part in module.modules()):
        raise LoadError(f"this {type(module).__name__} is wrapped by a bridge already: give mechpaint.load that bridge")
    return made


def _move(module: Any, device: Any, dtype: Any) -> Any:
    """A module on a device and of a dtype; None leaves either as it is."""
    if device is None and dtype is None:
        return module
    try:
        return module.to(device=_device(device) if device is not None else None, dtype=known_dtype(dtype))
    except LoadError:
        raise
    except Exception as error:  # of offloaded and of quantised models
        raise LoadError(f"cannot move this {type(module).__name__}: {_first_line(error)}") from error


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

    if not isinstance(model, str | Path) or is_toy(PRESETS[str(model)]() if str(model) in PRESETS else model):
        raise LoadError(
            f"a device map is for models that Hugging Face reads from a folder or the hub, got {device_map!r} for "
            f"{model if isinstance(model, str | Path) else f'a {type(model).__name__}'}"
        )
    for place in device_map.values() if isinstance(device_map, Mapping) else ():
        if isinstance(place, str) and place != "disk":
            _device(place)


def _hugging_face(source: str, given: str, dtype: torch.dtype | None, trust_remote_code: bool, **placed: Any) -> Any:
    if (Path(source) / "adapter_config.json").is_file():
        return with_adapter(source, given, lambda base: _hugging_face(base, base, dtype, trust_remote_code, **placed))
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, **placed}
    kind = kind_of_model(configuration(source, given, trust_remote_code))
    try:
        # reported rather than raised, so that all of it is
        module, report = kind.from_pretrained(
            source,
            dtype=dtype,
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except Exception as error:  # Hugging Face, safetensors, torch and packages for quantised weights
        raise _no_model(given, error) from error
    check_report(report, given)
    return module


def configuration(source: str, given: str, trust_remote_code: bool) -> Any:
    """Read a model's configuration, or say why it cannot be read."""
    import transformers

    try:
        return cast(Any, transformers.AutoConfig).from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise _no_model(given, error) from error


def kind_of_model(config: Any) -> Any:
    """The class of a configuration's model."""
    import transformers

    name = (config.architectures or [None])[0]
    # custom code has no class in transformers; the automatic one finds it
    return getattr(transformers, str(name), None) or transformers.AutoModelForCausalLM


def _no_model(given: str, error: Exception | str) -> LoadError:
    return LoadError(
        f"cannot load the model {given!r}: {error if isinstance(error, str) else _first_line(error)}\n"
        f"Expected a folder written by save_pretrained, a name on the hub, or one of {', '.join(PRESETS)}."
    )


def tokenizer_of(source: str, trust_remote_code: bool) -> PreTrainedTokenizerBase | None:
    """A model's own tokenizer, if it has one."""
    from transformers import AutoTokenizer

    files = (
        "tokenizer.json",
        "tokenizer.model",
        "vocab.json",
        "vocab.txt",
        "tokenizer_config.json",
        "spiece.model",
    )
    if Path(source).is_dir() and not any((Path(source) / name).exists() for name in files):
        return None
    try:
        return cast(Any, AutoTokenizer).from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise LoadError(f"cannot load the tokenizer of {source!r}: {_first_line(error)}") from error


def bridge_of(module: Any, tokenizer: Any, name: str) -> TransformerBridge:
    """A bridge on a Hugging Face model, in evaluation mode."""
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    from mechpaint.engine.agreement import remember
    from mechpaint.models.comparison import check_same, observe
    from mechpaint.models.headless import fitted_architecture

    config = getattr(module, "config", None)
    if config is None:
        raise LoadError(
            f"cannot wrap a {type(module).__name__}: expected a Hugging Face model (with a `config`) or a bridge; "
            "for a module of your own register a TransformerLens adapter and use build_bridge_from_module"
        )
    if hasattr(module, "set_attn_implementation"):
        module.set_attn_implementation("eager")
    observed = observe(module.eval())
    try:
        bridge = build_bridge_from_module(
            module,
            fitted_architecture(module) or type(module).__name__,
            hf_config=config,
            tokenizer=_usable(tokenizer),
            model_name=name,
        )
    except Exception as error:
        raise LoadError(
            f"TransformerLens cannot wrap a {type(module).__name__}: {_first_line(error)}. Expected a language model "
            "that it has, or the body of one, bare or with a head for classification"
        ) from error
    bridge.eval()
    _tell_devices(bridge, module)
    if observed is not None:
        check_same(bridge, module, observed)
    remember(bridge)
    vars(module)[_BRIDGE] = bridge
    return bridge


def _tell_devices(bridge: TransformerBridge, module: Any) -> None:
    """Write down in the bridge's configuration where tokens go, and over how many devices the model is spread."""
    from transformer_lens.utilities import multi_gpu

    places: Mapping[str, Any] | None = getattr(module, "hf_device_map", None)
    if not places:
        if str(bridge.cfg.device) == "meta":  # accelerate brings weights to where they are needed
            bridge.cfg.device = "cpu"
        return
    if multi_gpu.is_mixed_offload_gpu(places.values()):
        raise LoadError(
            f"the device map {dict(places)} keeps some weights on accelerators and others in main memory or on disk, "
            "which TransformerLens does not support: expected accelerators alone, or none"
        )
    wrong: list[tuple[str, object, object]] = cast(Any, multi_gpu).find_misplaced_modules(module)
    if wrong:
        name, expected, got = wrong[0]
        raise LoadError(
            f"the device map puts {name} on {expected}, and it is on {got}: it shares its weights with a module that "
            "is elsewhere. Put both on one device"
        )
    first = multi_gpu.find_embedding_device(module)
    # where weights are on disk they have no device; layers run on the CPU then
    bridge.cfg.device = "cpu" if first is None or first.type == "meta" else str(first)
    bridge.cfg.n_devices = multi_gpu.count_unique_devices(module)


def _usable(tokenizer: Any) -> Any:
    """A copy that TransformerLens does not reload from where it came from: there may be no such place."""
    if tokenizer is None:
        return None
    own = copy.deepcopy(tokenizer)
    own.init_kwargs = {"name_or_path": "", **own.init_kwargs, "add_bos_token": True}
    setattr(own, _STORED, tokenizer)
    return own


def _device(device: str | torch.device | None) -> torch.device:
    import torch

    if device is None:
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise LoadError(f"there is no device {str(device)!r} here: {_first_line(error)}") from error
    return place


def known_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A torch dtype by its name."""
    import torch

    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise LoadError(f"there is no dtype {dtype!r}: expected one of {', '.join(DTYPES)}")
    return getattr(torch, dtype)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
