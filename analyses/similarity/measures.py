"""Measures of the states of a window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.analyses.similarity.states import states, windows
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.stages import edited
from mechpaint.statistics.results import Record

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.analyses.similarity import Similarity

SIMILARITY = "similarity"
BY_TOKEN = "similarity by token"
ANGLE = "angular distance"
VARIANCE = "variance"


def measure(analysis: Similarity, model: TransformerBridge, hook_set: HookSet) -> Iterator[Record]:
    """Measure each window and pair of states; a variance is recorded as the pair of a state with itself.

    State 0 is the input of the first layer, state i the output of the route's i-th step.
    """
    route = edited(hook_set, len(model.blocks))
    for window, matrices in enumerate(map(of_window, states(model, route, windows(analysis, model)))):
        for name, matrix in matrices.items():
            for first, row in enumerate(matrix.tolist()):
                for second in [first] if name == VARIANCE else range(first, len(row)):
                    yield {"measure": name, "window": window, "first": first, "second": second, "value": row[second]}


def of_window(states: Float[Tensor, "state position d_model"]) -> dict[str, Float[Tensor, "state state"]]:
    """The measures of one window."""
    whole, each = _unit(states.flatten(1)), _unit(states)
    last = each[:, -1]
    return {
        SIMILARITY: whole @ whole.T,
        BY_TOKEN: torch.einsum("apd,bpd->ab", each, each) / states.shape[1],
        ANGLE: torch.arccos((last @ last.T).clamp(-1, 1)) / math.pi,
        VARIANCE: torch.diag(states.flatten(1).var(1, correction=0)),
    }


def _unit(vectors: Float[Tensor, "*rest d"]) -> Float[Tensor, "*rest d"]:
    return vectors / cast(Tensor, torch.linalg.vector_norm(vectors, dim=-1, keepdim=True))
