"""`finetune_text`: a causal language model trained along a route to foresee a text."""

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
    """A language model that was fine-tuned along a route.

    Attributes:
        route: The route.
        settings: How it was trained.
        model: The trained model, in evaluation mode. It knows nothing of the route: run it under `attach`, or score it
            with `mechpaint.scoring.score_items`. What did not learn shares its memory with the model that was given.
        losses: The mean cross-entropy of the batch before each update, in nats per token. Where the last one is no
            number, training ended there.
    """

    route: Route
    settings: FineTuning
    model: TransformerBridge
    losses: tuple[float, ...]


def windows(model: TransformerBridge, text: str, length: int) -> Int[Tensor, "window position"]:
    """A text cut into windows of equal length; what is left at its end is dropped.

    Args:
        model: Whose tokens they are made of.
        text: The text.
        length: How many tokens a window has, the beginning-of-text token included where the model expects one.

    Raises:
        TaskError: The text is shorter than one window.
        LoadError: The model has no tokenizer.
    """
    return torch.tensor(list(cut(model, text, length, "the text").values()))


def finetune_text(
    model: TransformerBridge,
    windows: Int[Tensor, "window position"],
    route: Route | HookSet | None = None,
    settings: FineTuning | None = None,
    advance: Advance | None = None,
) -> FineTunedText:
    """Train a language model along a route to foresee each token of a text.

    "Layers as Painters" does so after skipping layers (A.2, figure 13). The model that is given never changes: what
    learns is a copy.

    Args:
        model: A bridge on a Hugging Face model that foresees the next token.
        windows: `[window, position]` token ids, as `windows` makes them.
        route: Along which layers; None for the model's own order.
        settings: How; by default as `FineTuning()` says. `batch` counts windows.
        advance: Called with how many windows were trained on since the last call, in place of a progress bar.

    Raises:
        TrainingError: The model is no such model, its weights are not float32, or only its head is to learn.
        CannotReroute: This model's layers cannot be rerouted.
        RouteError: A route of another number of layers.
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
    """How badly a language model foresees each window along a route: the mean cross-entropy, in nats per token.

    Args:
        model: A bridge on a Hugging Face model that foresees the next token.
        windows: `[window, position]` token ids.
        route: Along which layers; None for the model's own order.
        batch: How many windows go through the model together.

    Raises:
        CannotReroute: This model's layers cannot be rerouted.
        RouteError: A route of another number of layers.
    """
    wanted = as_route(route, RouteRunner(model).n_layers)
    batches: tuple[Tensor, ...] = torch.split(windows, batch)
    with torch.no_grad(), RouteRunner(model).run_along(wanted):
        return torch.cat([_losses(model, tokens.to(model.cfg.device)) for tokens in batches]).cpu()


def _losses(model: TransformerBridge, tokens: Int[Tensor, "window position"]) -> Float[Tensor, " window"]:
    """The mean cross-entropy of all tokens but the first, window by window."""
    logits: Tensor = cast(Any, model.original_model)(input_ids=tokens, use_cache=False).logits
    losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), tokens[:, 1:], reduction="none")
    return losses.mean(dim=1)
