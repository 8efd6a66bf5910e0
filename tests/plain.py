"""Routes by a plain loop over a model's layers: written without the library, to compare it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Loop:
    """What a loop over the layers of a plain module needs, for some tokens.

    Args:
        embeddings: What the first layer is given.
        call: The output of a layer, given its number and its input.
        tail: The logits that the module makes of what its last layer returns.
    """

    embeddings: Tensor
    call: Callable[[int, Tensor], Tensor]
    tail: Callable[[Tensor], Tensor]

    def residual(self, steps: list) -> Tensor:
        """What comes out of the layers: an integer is one layer, a tuple an averaged group, a list a summed one."""
        stream = self.embeddings
        for step in steps:
            members = [step] if isinstance(step, int) else list(step)
            outputs = [self.call(i, stream) for i in members]
            if isinstance(step, list):
                stream = stream + sum(out - stream for out in outputs)
            else:
                stream = torch.stack(outputs).mean(0)
        return stream

    def logits(self, steps: list) -> Tensor:
        """The logits of the layers in this order."""
        return self.tail(self.residual(steps))


def logits(model: nn.Module, tokens: Tensor, steps: list, **inputs: Any) -> Tensor:
    """The logits of a Hugging Face model whose layers run in the order of `steps`; of a body, its last state."""
    with torch.no_grad():
        return hugging_face(model, tokens, **inputs).logits(steps)


def hugging_face(model: Any, tokens: Tensor, **inputs: Any) -> Loop:
    """The loop of a Hugging Face model.

    Each layer's own arguments are caught by a pre-hook while the model runs normally. The model's own tail is run by
    letting its last layer return what came out of the loop.
    """
    layers = _layers(model)
    caught: dict[int, tuple[tuple, dict]] = {}
    handles = [layer.register_forward_pre_hook(catcher(caught, i), with_kwargs=True) for i, layer in enumerate(layers)]
    for part in model.modules():
        if hasattr(part, "config"):
            part.config.use_cache = False  # else layers that run again would find what they have written
    model(tokens, **inputs)
    for handle in handles:
        handle.remove()

    def call(i: int, stream: Tensor) -> Tensor:
        args, kwargs = caught[i]
        if "hidden_states" in kwargs:
            return _first(layers[i](**{**kwargs, "hidden_states": stream}))
        return _first(layers[i](stream, *args[1:], **kwargs))

    def tail(stream: Tensor) -> Tensor:
        handle = layers[-1].register_forward_hook(
            lambda module, args, output: (stream, *output[1:]) if isinstance(output, tuple | list) else stream
        )
        try:
            out = model(tokens, **inputs)
            return out.logits if hasattr(out, "logits") else out.last_hidden_state
        finally:
            handle.remove()

    args, kwargs = caught[0]
    return Loop(kwargs["hidden_states"] if "hidden_states" in kwargs else args[0], call, tail)


def native(model: Any, tokens: Tensor, attention_mask: Tensor | None = None) -> Loop:
    """The loop of TransformerLens's own model, and of mechpaint's full toy, which is one."""
    places = torch.arange(tokens.shape[1])[None] if attention_mask is None else attention_mask.cumsum(1).sub(1).clamp(0)
    embeddings = model.tok_embed(tokens)
    if model.pos is not None:
        embeddings = embeddings + model.pos(places)

    def call(i: int, stream: Tensor) -> Tensor:
        return model.layers[i](stream, attention_mask=attention_mask, position_ids=places.expand(len(tokens), -1))[0]

    return Loop(embeddings, call, lambda stream: model.head(model.ln_out(stream)))


def simplified(model: Any, tokens: Tensor, attention_mask: Tensor | None = None) -> Loop:
    """The loop of mechpaint's simplified toy."""
    embeddings = model.tok_embed(tokens) + model.pos.weight[: tokens.shape[1]]
    return Loop(
        embeddings, lambda i, stream: model.layers[i](stream, attention_mask=attention_mask), model.head.__call__
    )


def _layers(model: nn.Module) -> list[nn.Module]:
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    return list(max(lists, key=len))


def catcher(caught: dict, i: int):
    """A pre-hook that writes down what layer `i` is handed."""

    def catch(module: nn.Module, args: tuple, kwargs: dict) -> None:
        caught[i] = (args, dict(kwargs))

    return catch


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple | list) else output
