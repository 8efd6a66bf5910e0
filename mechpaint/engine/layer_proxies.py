"""Layer proxies: they write down what layers are handed, and the last one finishes the forward pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias, cast

from torch import Tensor, nn

from mechpaint.engine.layer_inputs import LayerArguments, LayerInputs, leaves
from mechpaint.engine.ownership import refuse_thread
from mechpaint.errors import CannotReroute

Finish: TypeAlias = Callable[[LayerInputs], Tensor]
"""The last layer proxy's work: from the layers' inputs to the residual stream that the model's tail gets."""


class LayerProxies(nn.ModuleList):
    """Stands where Hugging Face keeps its layers: owns the real ones, and gives out layer proxies."""

    def __init__(self, layers: list[nn.Module], finish: Finish, outputs: int | None, model: str) -> None:
        super().__init__(layers)
        self.model = model
        self.finish = finish
        self.outputs = outputs
        self.layer_inputs: LayerInputs | None = None
        self.handed_on: Tensor | None = None
        self.finished = False
        self.thread = threading.get_ident()
        self.proxies = [_LayerProxy(self, i, layer) for i, layer in enumerate(layers)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.proxies)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise CannotReroute(
            f"this {self.model} is attached, so a copy of it, or a pickle, would hold what stands in the place of its "
            "layers: copy it outside of the `with` block"
        )

    def __getitem__(self, index: Any) -> Any:
        return cast(Any, self.proxies[index])

    def begin(self, *_: object) -> None:
        """A forward pass of the whole model begins."""
        self.layer_inputs, self.handed_on, self.finished = None, None, False

    def end(self, *_: object) -> None:
        """It has ended."""
        if not self.finished:
            raise CannotReroute(
                f"the forward pass of {self.model} does not reach layer {len(self.proxies) - 1}, the last that "
                "TransformerLens knows, so that no route can be run there"
            )

    def hand(self, layer: int, residual: Tensor, arguments: LayerArguments) -> Tensor:
        """Write down what a layer is handed; the last one finishes."""
        if threading.get_ident() != self.thread:
            refuse_thread()
        if self.finished:
            raise CannotReroute(
                f"{self.model} runs its stack of layers several times in a forward pass; routes are of models that run "
                "it once"
            )
        if layer == 0:
            self.layer_inputs = LayerInputs(residual)
        elif self.layer_inputs is None or residual is not self.handed_on or len(self.layer_inputs.layers) != layer:
            raise CannotReroute(
                f"the residual stream of {self.model} changes between layers {layer - 1} and {layer} outside of them, "
                "so they cannot be run in another order"
            )
        for name, value in arguments.named().items():
            if any(leaf is _WITHHELD for leaf in leaves(value)):
                raise CannotReroute(
                    f"layer {layer} of {self.model} is handed what layer {layer - 1} returns besides the residual "
                    f"stream ({name}), so they cannot be run in another order"
                )
        self.layer_inputs.layers.append(arguments)
        self.handed_on = residual
        if layer < len(self.proxies) - 1:
            return residual
        self.finished = True
        layer_inputs, self.layer_inputs, self.handed_on = self.layer_inputs, None, None
        return self.finish(layer_inputs)


_WITHHELD = object()
"""The rest of a layer proxy's tuple, besides the residual stream: it has nothing that a layer would."""


class _LayerProxy:
    """Stands for one layer in Hugging Face's loop; whatever else is asked of it, the real layer answers."""

    _owner: LayerProxies
    _layer: int
    _real: nn.Module

    def __init__(self, owner: LayerProxies, layer: int, real: nn.Module) -> None:
        vars(self).update(_owner=owner, _layer=layer, _real=real)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "hidden_states" in kwargs:
            args = (kwargs.pop("hidden_states"), *args)
        residual = self._owner.hand(self._layer, args[0], LayerArguments(args[1:], kwargs))
        outputs = self._owner.outputs
        if outputs is None:
            return residual
        # some callers unpack exactly what layers return, and some ask for the attention weights in second place
        return (residual, *[_WITHHELD] * (max(outputs, 1 + bool(kwargs.get("output_attentions"))) - 1))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._real, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._real, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._real.__reduce_ex__(protocol)
