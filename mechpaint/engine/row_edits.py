"""Edits of several routes in one call of a layer: each changes the rows of its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformer_lens.hook_points import HookPoint

from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import CannotReroute
from mechpaint.routes.edits import Given, Moment
from mechpaint.routes.readings import HookFunction, NamedHook
from mechpaint.routes.stages import Call


@contextmanager
def row_edits(runner: RouteRunner, layer: int, calls: Sequence[Call], rows: int, given: Given) -> Generator[None]:
    """Within this context a layer that runs on several streams, `rows` rows each, changes each as its call says."""
    editor = _RowEditor(calls, rows, given)
    points = list(dict.fromkeys(edit.point for call in calls for edit in call.edits))
    hooks: list[NamedHook] = [(f"blocks.{layer}.{point}", editor.hook(point)) for point in points]
    if any(edit.change.needs_incoming for call in calls for edit in call.edits):
        hooks.append((f"blocks.{layer}.hook_in", editor.note_incoming))
    with runner.model.hooks(fwd_hooks=hooks):
        yield


class _RowEditor:
    """Splits an activation into the rows of each stream, and changes them."""

    def __init__(self, calls: Sequence[Call], rows: int, given: Given) -> None:
        self._calls, self._rows, self._given = calls, rows, given
        self._incoming: Sequence[Tensor | None] = [None] * len(calls)

    def note_incoming(self, tensor: Tensor, hook: HookPoint) -> None:
        """Keep what the layer reads."""
        self._incoming = torch.split(tensor, self._rows)

    def hook(self, point: str) -> HookFunction:
        """A hook that changes what passes a point."""

        def change(tensor: Tensor, hook: HookPoint) -> Tensor:
            if len(tensor) != self._rows * len(self._calls):
                raise CannotReroute(
                    f"{hook.name} passes {len(tensor)} rows where the batch has {self._rows * len(self._calls)}, so "
                    "that it cannot be told which are whose: run one route at a time with mechpaint.attach"
                )
            parts: Sequence[Tensor] = torch.split(tensor, self._rows)
            each = zip(self._calls, parts, self._incoming, strict=True)
            return torch.cat([self._changed(call, point, rows, incoming) for call, rows, incoming in each])

        return change

    def _changed(self, call: Call, point: str, rows: Tensor, incoming: Tensor | None) -> Tensor:
        for edit in call.edits:
            if edit.point == point and call.visit is not None:
                rows = edit.change.apply(rows, Moment(point, call.visit, self._given, incoming))
        return rows
