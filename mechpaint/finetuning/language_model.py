"""`finetune_text`: a causal language model trained along a route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.display.progress import ticking
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import TrainingError
from mechpaint.finetuning.classification import as_route, prepare
from mechpaint.finetuning.model_copies import language_model
from mechpaint.finetuning.settings import FineTuning
from mechpaint.finetuning.training_loop import descend
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.scoring.encoding import windows as cut
from mechpaint.statistics.results import Advance


@dataclass(frozen=True)
class FineTunedText:
    """A language model fine-tuned along a route.

    Attributes:
        route: The route.
        settings: The training settings.
        model: The trained model, in evaluation mode. It does not include the route: run it under `attach`, or score it
            with `mechpaint.scoring.score_items`. Weights that did not learn share memory with the given model.
        losses: The mean batch cross-entropy before each update, in nats per token. Training stops at NaN.
    """

    route: Route
    settings: FineTuning
    model: TransformerBridge
    losses: tuple[float, ...]


def windows(model: TransformerBridge, text: str, length: int) -> Int[Tensor, "window position"]:
    """Cut a text into windows of equal length, dropping the remainder.

    Args:
        model: The model whose tokenizer is used.
        text: The text.
        length: Tokens per window, including a beginning-of-text token if the model expects one.

    Returns:
        `[window, position]` token ids.

    Raises:
        TaskError: A text shorter than one window.
        LoadError: A model without a tokenizer.
    """
    return torch.tensor(list(cut(model, text, length, "the text").values()))


def finetune_text(
    model: TransformerBridge,
    windows: Int[Tensor, "window position"],
    route: Route | HookSet | None = None,
    settings: FineTuning | None = None,
    advance: Advance | None = None,
) -> FineTunedText:
    """Train a language model along a route on a text.

    "Layers as Painters" does so after skipping layers (A.2, figure 13). The given model never changes: training works
    on a copy.

    Args:
        model: A bridge on a causal language model from Hugging Face.
        windows: `[window, position]` token ids, from `windows`.
        route: The route; None for the model's own order.
        settings: The settings, whose `batch` counts windows; None for `FineTuning()`.
        advance: Called with the number of windows since the last call, instead of a progress bar.

    Returns:
        The trained model.

    Raises:
        TrainingError: Not a causal language model, weights that are not float32, or only the head to train.
        CannotReroute: A model whose layers cannot be rerouted.
        RouteError: A route for another number of layers.
    """
    settings = settings or FineTuning()
    if settings.learns == "head":
        raise TrainingError("a language model's head is not trained alone: choose learns='layers' or learns='all'")
    if windows.ndim != 2 or windows.shape[1] < 2:
        raise TrainingError(f"expected windows [window, position] of 2 tokens or more, got {tuple(windows.shape)}")
    wanted = as_route(route, RouteRunner(model).n_layers)
    own = language_model(model)

    def loss(chosen: Tensor) -> Tensor:
        return _losses(own, windows[chosen].to(own.cfg.device)).mean()

    with RouteRunner(own).run_along(wanted), ticking("fine-tuning", settings.passes * len(windows), advance) as tick:
        learning = prepare(own, wanted, settings.learns)
        losses = descend(learning, len(windows), loss, settings, tick)
    own.eval()
    return FineTunedText(wanted, settings, own, losses)


def text_losses(
    model: TransformerBridge,
    windows: Int[Tensor, "window position"],
    route: Route | HookSet | None = None,
    batch: int = 4,
) -> Float[Tensor, " window"]:
    """Compute the mean cross-entropy of each window along a route, in nats per token.

    Args:
        model: A bridge on a causal language model from Hugging Face.
        windows: `[window, position]` token ids.
        route: The route; None for the model's own order.
        batch: Windows per batch.

    Returns:
        `[window]` losses, on the CPU.

    Raises:
        CannotReroute: A model whose layers cannot be rerouted.
        RouteError: A route for another number of layers.
    """
    wanted = as_route(route, RouteRunner(model).n_layers)
    batches: tuple[Tensor, ...] = torch.split(windows, batch)
    with torch.no_grad(), RouteRunner(model).run_along(wanted):
        return torch.cat([_losses(model, tokens.to(model.cfg.device)) for tokens in batches]).cpu()


def _losses(model: TransformerBridge, tokens: Int[Tensor, "window position"]) -> Float[Tensor, " window"]:
    """Compute the mean cross-entropy of all tokens but the first, per window."""
    logits: Tensor = cast(Any, model.original_model)(input_ids=tokens, use_cache=False).logits
    losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), tokens[:, 1:], reduction="none")
    return losses.mean(dim=1)
