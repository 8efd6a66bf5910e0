"""The residual stream along a route: before its first step, and after each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.sweep import sweep
from mechpaint.errors import TaskError
from mechpaint.routes.route import Route
from mechpaint.scoring.encoding import context
from mechpaint.tasks.builtin.text import Text

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.analyses.similarity import Similarity

_ROWS_PER_READ = 8


def windows(analysis: Similarity, model: TransformerBridge) -> Int[Tensor, "window position"]:
    """Windows of the text that do not overlap, chosen by the seed; the same under every hook set."""
    if analysis.window > context(model):
        raise TaskError(
            f"expected windows of at most {context(model)} tokens, the model's context, got {analysis.window}"
        )
    text = Text(analysis.text, analysis.window, scored=1)
    items = text.generate(model, random.Random(f"similarity {analysis.seed}"))
    found = [(*item.prompt, *item.choices[0]) for item in islice(items, analysis.windows)]
    if len(found) < analysis.windows:
        raise TaskError(
            f"the text {analysis.text!r} has {len(found)} windows of {analysis.window} tokens, expected "
            f"{analysis.windows}: ask for fewer or shorter ones, or give a longer text"
        )
    return torch.tensor(found, device=model.cfg.device)


def states(
    model: TransformerBridge, route: Route, tokens: Int[Tensor, "window position"]
) -> Iterator[Float[Tensor, "state position d_model"]]:
    """The states of each window in float64 on the CPU: what the first layer is given, then what each step leaves.

    A layer that runs twice leaves two states, and a group one, what its outputs are merged to. The model's final norm,
    if it has one, is not applied.
    """
    beginnings = [Route(route.steps[: i + 1], route.n_layers) for i in range(len(route.steps))]
    batches: tuple[Tensor, ...] = torch.split(tokens, _ROWS_PER_READ)
    for rows in batches:
        with torch.no_grad():
            found = [RouteRunner(model).record(rows).embeddings]
        found += [residual for _, residual in sweep(model, rows, beginnings).residuals()]
        yield from torch.stack(found, dim=1).to("cpu", torch.float64)
