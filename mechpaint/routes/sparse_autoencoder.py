"""A sparse autoencoder from a folder in SAELens' layout: `cfg.json` and `sae_weights.safetensors`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from mechpaint.display.sanitize import short
from mechpaint.errors import HookSetError

if TYPE_CHECKING:
    from torch import Tensor

Kind: TypeAlias = Literal["standard", "jumprelu", "topk"]
_KINDS = ("standard", "jumprelu", "topk")
_UNUSED = "scaling_factor"
"""A tensor of older folders that counts only where `finetuning_scaling_factor` says so, which is refused."""
_FOLDED = ("center_writing_weights", "center_unembed", "fold_ln", "fold_value_biases")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a folder's `cfg.json` says.

    Args:
        kind: The architecture: `"standard"` (ReLU), `"jumprelu"` or `"topk"`.
        d_in: The width of the activations that it was trained on.
        d_sae: How many features it has.
        k: How many features are kept, of `"topk"`.
        centred: Whether the decoder's bias is subtracted before encoding.
        rescaled: Whether features are those of a decoder of rows of norm 1, of `"topk"`.
        layer: The layer that it was trained on.
        point: The hook point inside that layer.
    """

    kind: Kind
    d_in: int
    d_sae: int
    k: int
    centred: bool
    rescaled: bool
    layer: int
    point: str


class SparseAutoencoder:
    """An encoder into features and a decoder back, both in float32.

    Args:
        settings: What it is.
        weights: `W_enc [d_in, d_sae]`, `b_enc [d_sae]`, `W_dec [d_sae, d_in]`, `b_dec [d_in]`, of `"jumprelu"` also
            `threshold [d_sae]`.
    """

    def __init__(self, settings: Settings, weights: Mapping[str, Tensor]) -> None:
        self.settings = settings
        self._weights = {"given": {name: weight.float() for name, weight in weights.items()}}

    @classmethod
    def load(cls, folder: str) -> SparseAutoencoder:
        """Read a folder.

        Args:
            folder: Its path.

        Raises:
            HookSetError: Files are missing or damaged; an architecture, a normalisation or a setting that would be
                computed differently; tensors that are missing, left over or of another shape.
        """
        place = Path(folder).expanduser()
        settings = _settings(_read_json(place), folder)
        return cls(settings, _read_weights(place, settings))

    def encode(self, activation: Tensor) -> Tensor:
        """The features of activations, `[batch, position, d_sae]`.

        Args:
            activation: `[batch, position, d_in]`, or by head, `[batch, position, head, d_head]`.
        """
        weights = self._on(activation)
        flat = activation.flatten(2).float()
        before = (flat - weights["b_dec"] if self.settings.centred else flat) @ weights["W_enc"] + weights["b_enc"]
        if self.settings.kind == "jumprelu":
            return before.relu() * (before > weights["threshold"])
        if self.settings.kind == "topk":
            before = before * self._norms(weights)
            largest = before.topk(self.settings.k, dim=-1)
            return before.new_zeros(before.shape).scatter(-1, largest.indices, largest.values.relu())
        return before.relu()

    def decode(self, features: Tensor) -> Tensor:
        """The activations that features stand for, `[batch, position, d_in]`.

        Args:
            features: `[batch, position, d_sae]`.
        """
        weights = self._on(features)
        return features / self._norms(weights) @ weights["W_dec"] + weights["b_dec"]

    def _norms(self, weights: Mapping[str, Tensor]) -> Tensor:
        """What a feature is divided by before it is decoded: 1, or the norm of its row of the decoder."""
        rows = weights["W_dec"]
        return rows.square().sum(-1).sqrt() if self.settings.rescaled else rows.new_ones(())

    def _on(self, tensor: Tensor) -> Mapping[str, Tensor]:
        """The weights on a tensor's device."""
        device = str(tensor.device)
        if device not in self._weights:
            self._weights[device] = {name: weight.to(device) for name, weight in self._weights["given"].items()}
        return self._weights[device]


def _read_json(folder: Path) -> dict[str, Any]:
    file = folder / "cfg.json"
    if not file.is_file():
        raise HookSetError(f"there is no {str(file)!r}: expected a folder with cfg.json and sae_weights.safetensors")
    try:
        given: object = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HookSetError(f"{str(file)!r} is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise HookSetError(f"{str(file)!r} holds {short(given)}: expected the settings of an autoencoder")
    settings = cast("dict[str, Any]", given)
    inner: object = settings.get("metadata")
    return {**settings, **cast("dict[str, Any]", inner if isinstance(inner, dict) else {})}


def _settings(given: Mapping[str, Any], folder: str) -> Settings:
    kind = given.get("architecture", "standard")
    activation = given.get("activation_fn", given.get("activation_fn_str", "relu"))
    keywords = cast("Mapping[str, Any]", given.get("activation_fn_kwargs") or {})
    if kind == "standard" and activation == "topk":
        kind = "topk"
    _refuse(folder, "architecture", kind, kind in _KINDS, "standard, jumprelu or topk")
    _refuse(folder, "activation_fn", activation, activation in ("relu", kind), "relu")
    _refuse_what_would_differ(given, folder)
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", str(given.get("hook_name")))
    if found is None:
        _refuse(folder, "hook_name", given.get("hook_name"), False, "a hook point in a layer: blocks.8.hook_resid_pre")
    d_in, d_sae = _size(folder, "d_in", given.get("d_in")), _size(folder, "d_sae", given.get("d_sae"))
    k = _size(folder, "k", given.get("k", keywords.get("k"))) if kind == "topk" else 0
    _refuse(folder, "k", k, k <= d_sae, f"at most d_sae, {d_sae}")
    layer, point = cast("re.Match[str]", found).groups()
    centred = given.get("apply_b_dec_to_input")
    _refuse(folder, "apply_b_dec_to_input", centred, isinstance(centred, bool), "true or false")
    rescaled = kind == "topk" and bool(given.get("rescale_acts_by_decoder_norm"))
    return Settings(cast(Kind, kind), d_in, d_sae, k, cast(bool, centred), rescaled, int(layer), point)


def _size(folder: str, name: str, value: object) -> int:
    _refuse(folder, name, value, isinstance(value, int) and value > 0, "a whole number above 0")
    return cast(int, value)


def _refuse_what_would_differ(given: Mapping[str, Any], folder: str) -> None:
    """Refuse settings with which SAELens computes something else."""
    normalised = given.get("normalize_activations", "none")
    _refuse(
        folder, "normalize_activations", normalised, normalised in ("none", False, None),
        "none (its scale is not in the file: fold it into the weights)",
    )  # fmt: skip
    finetuned = given.get("finetuning_scaling_factor")
    _refuse(folder, "finetuning_scaling_factor", finetuned, not finetuned, "false")
    head = given.get("hook_head_index")
    _refuse(folder, "hook_head_index", head, head is None, "null, an autoencoder of all heads")
    other = given.get("hook_name_out")
    _refuse(folder, "hook_name_out", other, other in (None, given.get("hook_name")), "the hook that it reads")
    model = cast("Mapping[str, Any]", given.get("model_from_pretrained_kwargs") or {})
    for name in _FOLDED:
        _refuse(
            folder, f"model_from_pretrained_kwargs.{name}", model.get(name), not model.get(name),
            "false: it was trained on a model whose weights were processed, which has other activations",
        )  # fmt: skip


def _refuse(folder: str, name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise HookSetError(f"the autoencoder in {folder!r} has {name} {short(value)}: expected {expected}")


def _read_weights(folder: Path, settings: Settings) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    file = folder / "sae_weights.safetensors"
    if not file.is_file():
        raise HookSetError(f"there is no {str(file)!r}: expected a folder with cfg.json and sae_weights.safetensors")
    try:
        with cast(Any, safe_open)(str(file), "pt") as opened:
            names = cast("list[str]", opened.keys())
            weights: dict[str, Tensor] = {name: opened.get_tensor(name) for name in names if name != _UNUSED}
    except SafetensorError as error:
        raise HookSetError(f"{str(file)!r} is no safetensors file: {error}") from None
    wide, many = settings.d_in, settings.d_sae
    shapes = {"W_enc": (wide, many), "b_enc": (many,), "W_dec": (many, wide), "b_dec": (wide,)}
    if settings.kind == "jumprelu":
        shapes["threshold"] = (many,)
    if set(weights) != set(shapes):
        raise HookSetError(f"{str(file)!r} holds {', '.join(sorted(weights))}: expected {', '.join(shapes)}")
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise HookSetError(
                f"{name} in {str(file)!r} has the shape {list(weights[name].shape)}: expected {list(shape)}"
            )
        if not weights[name].isfinite().all():
            raise HookSetError(f"{name} in {str(file)!r} holds numbers that are not finite")
    return weights
