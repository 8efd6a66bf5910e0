"""Add a direction to the residual stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechpaint.errors import HookSetError
from mechpaint.routes.changes import Added, Direction
from mechpaint.routes.edits import Edit, Part
from mechpaint.routes.fields import as_layers
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.visits import Selection, one_of


@dataclass(frozen=True, eq=False)
class Steer(HookSet):
    """Add a direction to the residual stream after layers, or at another hook point of its width.

    Activation addition (Turner et al. 2023, arXiv 2308.10248; Rimsky et al. 2023, arXiv 2312.06681).

    Args:
        direction: `[d_model]`, a tensor, or the path of a safetensors file that holds one.
        scale: What to multiply it with.
        layers: Which layer, or layers, at each of their visits; None for every one.
        visits: In place of layers, which visits: `"5#2"` is layer 5 for the second time.
        positions: At which positions; negative ones count from the last that a forward pass is given, so that -1 steers
            every new token while generating; None for all.
        point: The hook point inside blocks.
    """

    direction: Any
    scale: float = 1.0
    layers: int | Sequence[int] | None = None
    visits: Selection = None
    positions: int | Sequence[int] | None = None
    point: str = "hook_out"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.layers, self.visits)
        object.__setattr__(self, "_added", Direction(_vector(self.direction) * self.scale))

    def files(self) -> tuple[str, ...]:
        """The direction's file."""
        if not isinstance(self.direction, str | Path):
            raise HookSetError(
                "a direction in memory cannot be part of a run: save it as safetensors, and give the path"
            )
        return (str(self.direction),)

    def edits(self) -> tuple[Edit, ...]:
        """The one edit."""
        change = Added(Part(as_layers(self.positions)), direction=vars(self)["_added"])
        return (Edit(self.point, one_of(self.layers, self.visits), change),)


def _vector(given: Any) -> Any:
    """One direction, `[d_model]`."""
    import torch

    if isinstance(given, str | Path):
        given = _from_file(Path(given).expanduser())
    if not isinstance(given, torch.Tensor) or given.ndim != 1 or not given.is_floating_point():
        shape = list(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
        raise HookSetError(f"expected a direction [d_model], or the path of a safetensors file with one, got {shape}")
    if not given.isfinite().all():
        raise HookSetError("the direction holds numbers that are not finite")
    return given.detach().clone()


def _from_file(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise HookSetError(f"there is no file {str(path)!r}: expected a safetensors file with one direction [d_model]")
    try:
        with safe_open(str(path), "pt") as file:
            names = list(file.keys())
            if len(names) != 1:
                raise HookSetError(f"{str(path)!r} holds {len(names)} tensors: expected one, a direction [d_model]")
            return file.get_tensor(names[0])
    except SafetensorError as error:
        raise HookSetError(f"{str(path)!r} is no safetensors file: {error}") from None
