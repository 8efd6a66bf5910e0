"""What tensor operations take: floating-point operations, bytes that are moved, memory. Counted as they are called.

It needs no numbers: on torch's `meta` device, where tensors have shapes and nothing else, it takes no time to speak of.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mechpaint.planning.accelerators import Roofline

_FORMULAS = cast("dict[Any, Callable[..., int]]", flop_counter.flop_registry)


@dataclass(frozen=True)
class Operation:
    """What one tensor operation takes.

    Args:
        flops: Floating-point operations of matrix products and convolutions, a multiplication and an addition being
            two, as `torch.utils.flop_counter` counts them. Others are bound by the memory.
        moved: How many bytes its operands and results have.
    """

    flops: int
    moved: int


@dataclass(frozen=True)
class Counted:
    """What some work takes.

    Args:
        operations: One after the other. Views, which do nothing, are not among them.
        peak: The most bytes that its results had at one time.
    """

    operations: tuple[Operation, ...]
    peak: int

    @property
    def flops(self) -> int:
        """Floating-point operations."""
        return sum(operation.flops for operation in self.operations)

    def seconds(self, on: Roofline) -> float:
        """How long it takes: operations run one after the other.

        Args:
            on: Where.
        """
        return sum(on.seconds(operation.flops, operation.moved) for operation in self.operations)


def counted(work: Callable[[], object]) -> Counted:
    """What some work takes. It is done, without gradients.

    Args:
        work: What is counted.
    """
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
        found = func(*args, **kwargs)
        if func.is_view:
            return found
        operands, results = _tensors((args, kwargs)), _tensors(found)
        given = {_storage(operand)._cdata for operand in operands}
        for result in results:
            if _storage(result)._cdata not in given:  # it is not written in place
                self._hold(_storage(result))
        formula = _FORMULAS.get(func.overloadpacket)
        flops = formula(*args, **kwargs, out_val=found) if formula else 0
        if any(result.numel() for result in results):
            self.operations.append(Operation(flops, _bytes((*operands, *results))))
        return found

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
