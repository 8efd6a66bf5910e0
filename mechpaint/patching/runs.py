"""The two runs that patching compares: a clean prompt and a corrupted one, along one route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mechpaint.engine.arguments import Text, as_hook_set, as_tokens
from mechpaint.engine.attach import attach
from mechpaint.errors import HookSetError, InputError
from mechpaint.hooks import Read
from mechpaint.patching.metrics import Metric
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.visit_cache import VisitCache

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.engine.arguments import Routing


@dataclass(frozen=True, eq=False)
class Pair:
    """A clean and a corrupted prompt, `[batch, position]`, of the same length and without padding."""

    clean: Tensor
    corrupted: Tensor

    @classmethod
    def of(cls, model: TransformerBridge, clean: Text, corrupted: Text) -> Pair:
        """Read two prompts, or two batches of them.

        Raises:
            InputError: They differ in number or length, or are padded.
        """
        (a, masked), (b, also) = as_tokens(model, clean), as_tokens(model, corrupted)
        if a.shape != b.shape or masked is not None or also is not None:
            raise InputError(
                f"the clean prompt has {list(a.shape)} tokens, the corrupted one {list(b.shape)}"
                f"{', and some are padded' * (masked is not None or also is not None)}: expected as many rows, "
                "all of one length, so that each position stands for the same word"
            )
        return cls(a, b)


def patchable(hook_set: Routing) -> HookSet:
    """A hook set under which both runs go: it may reroute and change activations."""
    read = as_hook_set(hook_set)
    if not read.only_edits():
        raise HookSetError(
            f"both runs go under hook sets that reroute or change activations, and {read} reads or hooks"
        )
    return read


@torch.no_grad()
def clean_run(
    model: TransformerBridge, tokens: Tensor, metric: Metric, hook_set: HookSet, points: Sequence[str]
) -> tuple[VisitCache, float]:
    """What a prompt's run had at some hook points, and its metric."""
    reads = sum((Read(point) for point in points), HookSet())
    with attach(model, hook_set + reads) as session:
        value = float(metric(model(tokens)[:, -1]))
    return session.cache if points else VisitCache(session.route, {}), value
