"""Routes by a plain loop over Hugging Face layers: written without the library, to compare it with."""

from __future__ import annotations

from typing import Any

import torch


def logits(model: torch.nn.Module, tokens: torch.Tensor, steps: list, **inputs: Any) -> torch.Tensor:
    """The logits of an ordinary Hugging Face model whose layers run in the order of `steps`; of a body, its last state.

    Each layer's own arguments are caught by a pre-hook while the model runs normally. Then the layers are called one
    by one, and the model's own tail is run by letting its last layer return what came out.
    An integer is one layer, a tuple an averaged group, a list a summed one.
    """
    layers = _layers(model)
    caught: dict[int, tuple[tuple, dict]] = {}
    handles = [layer.register_forward_pre_hook(catcher(caught, i), with_kwargs=True) for i, layer in enumerate(layers)]
    model.config.get_text_config().use_cache = False  # else layers that run again would find what they have written
    with torch.no_grad():
        model(tokens, **inputs)
    for handle in handles:
        handle.remove()
    stream = caught[0][0][0]
    with torch.no_grad():
        for step in steps:
            members = [step] if isinstance(step, int) else list(step)
            outputs = [_call(layers[i], stream, caught[i]) for i in members]
            if isinstance(step, list):
                stream = stream + sum(out - stream for out in outputs)
            else:
                stream = torch.stack(outputs).mean(0)
    handle = layers[-1].register_forward_hook(
        lambda module, args, output: (stream, *output[1:]) if isinstance(output, tuple | list) else stream
    )
    with torch.no_grad():
        out = model(tokens, **inputs)
    handle.remove()
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def _layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    return list(max(lists, key=len))


def catcher(caught: dict, i: int):
    """A pre-hook that writes down what layer `i` is handed."""

    def catch(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        caught[i] = (args, dict(kwargs))

    return catch


def _call(layer: torch.nn.Module, stream: torch.Tensor, arguments: tuple[tuple, dict]) -> torch.Tensor:
    args, kwargs = arguments
    out = layer(stream, *args[1:], **kwargs)
    return out[0] if isinstance(out, tuple | list) else out
