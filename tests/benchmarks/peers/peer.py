"""What every peer can be asked, and which there are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol

from torch import Tensor

from mechpaint.routes.route import Route


class Peer(Protocol):
    """Something that runs a model's layers along routes. Groups are averaged, as in all routes of this benchmark.

    Attributes:
        name: As it stands in the tables.
        package: Whose version is shown.
        settings: How it was set up to be as fast as it can be.
        by_hand: What whoever uses it has to write.
    """

    name: str
    package: str
    settings: str
    by_hand: str

    @classmethod
    def load(cls, folder: Path) -> Peer:
        """With the weights of a folder that `save_pretrained` wrote, in float32.

        Raises:
            ImportError: It is not installed.
        """
        ...

    def cannot(self, route: Route) -> str | None:
        """Why it cannot run a route, or None."""
        ...

    def last_logits(self, route: Route, tokens: Tensor) -> Tensor:
        """The logits `[batch, vocab]` at the last of the tokens `[batch, position]`, along a route that it can run."""
        ...


HOMES = {
    "layer list": "by_layer_list:LayerList",
    "nnsight": "by_nnsight:Nnsight",
    "TransformerLens hooks": "by_hook_points:HookPoints",
    "pyvene": "by_pyvene:Pyvene",
}
"""By name, the module and the class of each peer. A peer's library is imported only where it is asked for."""


def kind(name: str) -> type[Peer]:
    """A peer's class."""
    module, _, of_class = HOMES[name].partition(":")
    return getattr(import_module(f"{__package__}.{module}"), of_class)
