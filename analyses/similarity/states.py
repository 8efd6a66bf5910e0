"""The residual stream along a route, before its first step and after each."""

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
from mechpaint.routes.stages import beginning
from mechpaint.scoring.encoding import context
from mechpaint.tasks.builtin.text import Text

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.analyses.similarity import Similarity

_ROWS_PER_READ = 8


def windows(analysis: Similarity, model: TransformerBridge) -> Int[Tensor, "window position"]:
    """Choose windows of the text by the seed, without overlap; the same under every hook set."""
    if analysis.window > context(model):
        raise TaskError(
            f"expected windows of at most {context(model)} tokens, the model's context, got {analysis.window}"
        )
    text = Text(analysis.text, analysis.window, scored=1)
    items = text.generate(model, random.Random(f"similarity {analysis.seed}"))
    rows = [(*item.prompt, *item.choices[0]) for item in islice(items, analysis.windows)]
    if len(rows) < analysis.windows:
        raise TaskError(
            f"the text {analysis.text!r} has {len(rows)} windows of {analysis.window} tokens, expected "
            f"{analysis.windows}: ask for fewer or shorter ones, or give a longer text"
        )
    return torch.tensor(rows, device=model.cfg.device)


def states(
    model: TransformerBridge, route: Route, tokens: Int[Tensor, "window position"]
) -> Iterator[Float[Tensor, "state position d_model"]]:
    """The states of each window, in float64 on the CPU: the first layer's input, then the output of each step.

    A layer that runs twice has two states; a group has one, its merged output. The final norm is not applied.
    """
    beginnings = [beginning(route, i + 1) for i in range(len(route.steps))]
    batches: tuple[Tensor, ...] = torch.split(tokens, _ROWS_PER_READ)
    for rows in batches:
        with torch.no_grad():
            streams = [RouteRunner(model).record(rows).embeddings]
        streams += [residual for _, residual in sweep(model, rows, beginnings).residuals()]
        yield from torch.stack(streams, dim=1).to("cpu", torch.float64)
