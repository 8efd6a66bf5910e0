"""The work that routes are for a model, counted from its modules' own operations, without a formula."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mechpaint.engine.layer_inputs import LayerInputs
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.models.meta_device import fill, is_meta, meta_model, meta_model_of
from mechpaint.planning.accelerators import Roofline
from mechpaint.planning.layer_calls import calls_of
from mechpaint.routes.prefix_tree import PrefixTree

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class Work:
    """Counts operations of a model's layers and tail, on torch's `meta` device where its code looks at no numbers."""

    def __init__(self, model: TransformerBridge) -> None:
        self._runner = RouteRunner(_askable(model))
        self._device = next(self._runner.model.original_model.parameters()).device
        self._kinds = [_kind(layer) for layer in self._runner.layers]
        self._layers: dict[tuple[object, ...], Counted] = {}
        self._tails: dict[int, Counted] = {}
        self._recorded: tuple[tuple[int, int], LayerInputs] | None = None

    def layer(self, layer: int, rows: int, tokens: int) -> Counted:
        """The operations of one call of a layer."""
        key = (self._kinds[layer], rows, tokens)
        if key not in self._layers:
            layer_inputs = self._record(rows, tokens)
            self._layers[key] = counted(
                lambda: self._runner.call(layer, layer_inputs.embeddings, layer_inputs.layers[layer])
            )
        return self._layers[key]

    def tail(self, scored: int) -> Counted:
        """The operations of the logits at some positions, and of their log-probabilities."""
        if scored not in self._tails:
            weight = next(self._runner.model.original_model.parameters())
            width = int(self._runner.model.cfg.d_model)
            rows = torch.zeros((scored, width), dtype=weight.dtype, device=self._device)

            def score() -> None:
                logits = self._runner.tail(rows).float()
                logits.log_softmax(dim=-1)
                logits.argmax(dim=-1)

            self._tails[scored] = counted(score)
        return self._tails[scored]

    def sweep(
        self, tree: PrefixTree, rows: int, tokens: int, scored: int, visits: int = 1
    ) -> Iterator[tuple[int, Counted]]:
        """All that a sweep of one batch does: how often, and what it takes each time."""
        for (layer, together), times in calls_of(tree, visits).items():
            yield times, self.layer(layer, together * rows, tokens)
        if scored:
            yield len(tree.routes), self.tail(scored)

    def _record(self, rows: int, tokens: int) -> LayerInputs:
        if self._recorded is None or self._recorded[0] != (rows, tokens):
            ids = torch.zeros((rows, tokens), dtype=torch.long, device=self._device)
            with torch.no_grad():
                self._recorded = (rows, tokens), self._runner.record(ids)
        return self._recorded[1]


def _kind(layer: nn.Module) -> tuple[object, ...]:
    """The facts that layers of equal cost share."""
    tensors = tuple((name, tensor.shape, tensor.dtype) for name, tensor in layer.named_parameters())
    return (tuple(type(part) for part in layer.modules()), tensors)


def can_be_asked(model: TransformerBridge) -> bool:
    """Try a model's outline on a single token in each kind of layer."""
    token = torch.zeros((1, 1), dtype=torch.long, device="meta")
    try:
        runner = RouteRunner(model)
        with torch.no_grad():
            layer_inputs = runner.record(token)
            for layer in {_kind(layer): i for i, layer in enumerate(runner.layers)}.values():
                runner.call(layer, layer_inputs.embeddings, layer_inputs.layers[layer])
    except (RuntimeError, NotImplementedError):
        return False
    return True


_OUTLINES: weakref.WeakKeyDictionary[TransformerBridge, dict[Any, TransformerBridge | None]] = (
    weakref.WeakKeyDictionary()
)
"""Outlines that can be asked, by model and precision: one takes seconds to make, and each task of a plan needs it."""


def _askable(model: TransformerBridge) -> TransformerBridge:
    """The model's outline, if it has one that can be asked."""
    if is_meta(model):
        return model
    by_dtype, dtype = _OUTLINES.setdefault(model, {}), getattr(model.original_model, "dtype", None)
    if dtype not in by_dtype:
        shape = meta_model_of(model)
        by_dtype[dtype] = shape if shape is not None and can_be_asked(shape) else None
    outline = by_dtype[dtype]
    return model if outline is None else outline


_FORMULAS = cast("dict[Any, Callable[..., int]]", flop_counter.flop_registry)


@dataclass(frozen=True)
class Operation:
    """The cost of one tensor operation."""

    flops: int
    """Of matrix products and convolutions, as `torch.utils.flop_counter` counts them; the rest is bound by memory."""
    moved: int
    """Bytes of operands and results."""


@dataclass(frozen=True)
class Counted:
    """The cost of some work."""

    operations: tuple[Operation, ...]
    """Without views, which do nothing."""
    peak: int
    """The most bytes of results at one time."""

    @property
    def flops(self) -> int:
        """Floating-point operations."""
        return sum(operation.flops for operation in self.operations)

    def seconds(self, on: Roofline) -> float:
        """Seconds of the operations, one after the other."""
        return sum(on.seconds(operation.flops, operation.moved) for operation in self.operations)


def counted(work: Callable[[], object]) -> Counted:
    """Do some work, without gradients, and count its operations."""
    counter = _Counter()
    with torch.no_grad(), counter:
        work()
    return Counted(tuple(counter.operations), counter.peak)


class _Counter(TorchDispatchMode):
    """Sees every tensor operation."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.peak = 0
        self._live = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func.is_view:
            return output
        operands, results = _tensors((args, kwargs)), _tensors(output)
        given = {_storage(operand)._cdata for operand in operands}
        for result in results:
            if _storage(result)._cdata not in given:  # it is not written in place
                self._hold(_storage(result))
        formula = _FORMULAS.get(func.overloadpacket)
        flops = formula(*args, **kwargs, out_val=output) if formula else 0
        if any(result.numel() for result in results):
            self.operations.append(Operation(flops, _bytes((*operands, *results))))
        return output

    def _hold(self, storage: Any) -> None:
        """It counts until nothing refers to it."""
        size = int(storage.nbytes())
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self._live -= size


def _storage(tensor: Tensor) -> Any:
    return tensor.untyped_storage()


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in cast("Iterable[Any]", tree_leaves(tree)) if isinstance(leaf, Tensor)]


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Of their elements; one that is expanded, of those that there are."""
    sizes = (min(t.numel() * t.element_size(), int(_storage(t).nbytes())) for t in tensors)
    return sum(sizes)


_LLAMA_2: Mapping[str, Any] = {
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
}

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "llama-2-7b": {
        **_LLAMA_2,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "llama-2-13b": {
        **_LLAMA_2,
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 40,
    },
    "llama-2-70b": {
        **_LLAMA_2,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}
"""Configurations by name, as Meta published them with the weights of Llama 2 (Touvron et al. 2023)."""


def to_plan(model: str, dtype: str | None, *, measured: bool) -> TransformerBridge:
    """A model to plan with: its shape alone, or with random weights of one layer."""
    outline = meta_model(SHAPES.get(model, model), dtype=dtype)
    if measured or not can_be_asked(outline):
        fill(outline, "cpu")
    return outline
