"""Interventions by torch hooks on the modules of Hugging Face, visit by visit: written without the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests import plain

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Names:
    """What the parts of one architecture's layers are called.

    Args:
        heads: The output projection, whose input is what the heads gathered.
        attention: What returns what attention adds to the residual stream.
        mlp: What returns what the MLP adds.
    """

    heads: str
    attention: str
    mlp: str


NAMES = {
    "llama": Names("self_attn.o_proj", "self_attn", "mlp"),
    "gpt2": Names("attn.c_proj", "attn", "mlp"),
    "gemma3": Names("self_attn.o_proj", "post_attention_layernorm", "post_feedforward_layernorm"),
    "gpt_neox": Names("attention.dense", "attention", "mlp"),
}
N_HEADS = 4


def loop(
    bare: plain.Loop,
    model: nn.Module,
    names: Names,
    changes: Mapping[int, Sequence[tuple[str, Change]]],
    kept: dict[int, dict[str, Tensor]] | None = None,
) -> plain.Loop:
    """The plain loop with changes at some visits; each is a part and what becomes of it. It runs once.

    Args:
        bare: The loop without changes, `plain.hugging_face(model, tokens)`.
        model: A module of Hugging Face's.
        names: What its parts are called.
        changes: By the number of the visit: the first layer that runs is 0.
        kept: Receives the parts of every visit, after their changes.
    """
    layers = plain._layers(model)
    done = 0

    def call(i: int, stream: Tensor) -> Tensor:
        nonlocal done
        visit, done = done, done + 1
        with ExitStack() as stack:
            for part, change in changes.get(visit, ()):
                stack.callback(_hooked(layers[i], part, change, names).remove)
            if kept is not None:
                for part in ("heads", "attention", "mlp", "layer"):
                    keep = _keeper(kept.setdefault(visit, {}), part)
                    stack.callback(_hooked(layers[i], part, keep, names).remove)
            return bare.call(i, stream)

    return plain.Loop(bare.embeddings, call, bare.tail)


def _keeper(kept: dict[str, Tensor], part: str) -> Change:
    def keep(tensor: Tensor) -> Tensor:
        kept[part] = tensor.detach().clone()
        return tensor

    return keep


def _hooked(layer: nn.Module, part: str, change: Change, names: Names) -> Any:
    if part == "layer":
        return layer.register_forward_hook(lambda module, args, output: _with_first(output, change))
    if part == "added":

        def added(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
            incoming = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            return _with_first(output, lambda out: incoming + change(out - incoming))

        return layer.register_forward_hook(added, with_kwargs=True)
    if part == "mask":

        def by_head(given: Any) -> Any:
            is_mask = isinstance(given, Tensor) and given.ndim == 4
            return change(given.repeat(1, N_HEADS, 1, 1)) if is_mask else given

        def masked(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            return tuple(map(by_head, args)), {name: by_head(given) for name, given in kwargs.items()}

        return layer.register_forward_pre_hook(masked, with_kwargs=True)
    if part == "heads":

        def split(module: nn.Module, args: tuple) -> tuple:
            z = args[0]
            return (change(z.unflatten(-1, (N_HEADS, -1))).flatten(-2), *args[1:])

        return layer.get_submodule(names.heads).register_forward_pre_hook(split)
    module = layer.get_submodule(getattr(names, part))
    return module.register_forward_hook(lambda module, args, output: _with_first(output, change))


def _with_first(output: Any, change: Change) -> Any:
    return (change(output[0]), *output[1:]) if isinstance(output, tuple | list) else change(output)


def at(positions: Sequence[int], change: Change) -> Change:
    """A change at some positions alone."""

    def changed(tensor: Tensor) -> Tensor:
        everywhere, tensor = change(tensor), tensor.clone()
        tensor[:, positions] = everywhere.expand_as(tensor)[:, positions]
        return tensor

    return changed


def of_heads(heads: Sequence[int], change: Change) -> Change:
    """A change of some heads alone."""

    def changed(z: Tensor) -> Tensor:
        everywhere, z = change(z), z.clone()
        z[:, :, heads] = everywhere.expand_as(z)[:, :, heads]
        return z

    return changed


def zero(tensor: Tensor) -> Tensor:
    """Nothing in its place."""
    return torch.zeros_like(tensor)


def cut(queries: Sequence[int], keys: Sequence[int], heads: Sequence[int]) -> Change:
    """A mask `[batch, head, query, key]` in which some queries do not see some keys."""

    def changed(mask: Tensor) -> Tensor:
        mask = mask.clone()
        for head in heads:
            for query in queries:
                mask[:, head, query, keys] = torch.finfo(mask.dtype).min
        return mask

    return changed
