"""`finetune`: a classifier trained along a route."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.display.progress import ticking
from mechpaint.display.summary import Summarized, Summary
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import HookSetError
from mechpaint.finetuning.benchmarks import Labelled
from mechpaint.finetuning.encoding import Rows, encode
from mechpaint.finetuning.frozen_body import ROWS_AT_ONCE, Answer, Place, features, head_alone, place_read, whole_model
from mechpaint.finetuning.model_copies import classifier, head, make_own
from mechpaint.finetuning.settings import FineTuning
from mechpaint.finetuning.training_loop import descend
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import Estimate, estimate, resampled
from mechpaint.statistics.results import Advance


@dataclass(frozen=True)
class FineTuned(Summarized):
    """A classifier fine-tuned along a route, with its predictions on the validation examples.

    Attributes:
        route: The route.
        settings: The training settings.
        data: The training and validation examples.
        model: The trained classifier, in evaluation mode. It does not include the route: run it under `attach`.
            Weights that did not learn share memory with the given model.
        logits: `[example, label]` of the validation examples, along the route; NaN if the training loss became NaN.
        losses: The mean batch loss before each update: cross-entropy in nats, or squared error.
        truncated: The number of truncated examples, in training and validation.
    """

    route: Route
    settings: FineTuning
    data: Labelled
    model: TransformerBridge
    logits: Float[Tensor, "example label"]
    losses: tuple[float, ...]
    truncated: int

    @property
    def metrics(self) -> dict[str, Estimate]:
        """The benchmark's metrics, with 95 % bootstrap intervals over the validation examples."""
        names = [example.name for example in self.data.validation]
        predicted = np.array(self.predicted)[:, None]
        estimates: dict[str, Estimate] = {}
        for name in self.data.benchmark.metrics:
            metric = self.data.benchmark.metric(self.data.validation, name)
            estimates[name] = estimate(resampled(metric, names, predicted, np.random.default_rng(0))[:, 0])
        return estimates

    @property
    def predicted(self) -> tuple[float, ...]:
        """The predicted class of each validation example, or its value; NaN if its logits are not finite."""
        values = self.logits[:, 0] if self.data.benchmark.labels == 1 else self.logits.argmax(dim=-1).double()
        finite = self.logits.isfinite().all(dim=-1)
        return tuple(cast(Any, values.double().masked_fill(~finite, torch.nan)).tolist())

    def _summary(self) -> Summary:
        facts = [
            ("route", str(self.route)),
            ("learned", self.settings.learns),
            ("examples", self.data.source),
            ("truncated", str(self.truncated)),
            ("updates", str(len(self.losses))),
        ]
        rows = [(name, str(value)) for name, value in self.metrics.items()]
        return Summary("Fine-tuned along a route", facts, ("metric", "on the validation examples"), rows)


def finetune(
    model: TransformerBridge,
    data: Labelled,
    route: Route | HookSet | None = None,
    settings: FineTuning | None = None,
    advance: Advance | None = None,
) -> FineTuned:
    """Add a classification head to a model and train both along a route, as "Layers as Painters" does for GLUE.

    The given model never changes: training works on a copy.

    Args:
        model: A bridge on a Hugging Face model with a tokenizer: an encoder or a decoder.
        data: The examples for training and validation.
        route: The route; None for the model's own order.
        settings: The settings; None for `FineTuning()`.
        advance: Called with the number of examples since the last call, instead of a progress bar.

    Returns:
        The trained classifier and its predictions.

    Raises:
        TrainingError: No classification model of this architecture, or weights that are not float32.
        CannotReroute: A model whose layers cannot be rerouted.
        RouteError: A route for another number of layers.
        LoadError: A model without a tokenizer.
    """
    return next(finetune_routes(model, data, [route], settings, advance))


def finetune_routes(
    model: TransformerBridge,
    data: Labelled,
    routes: Sequence[Route | HookSet | None],
    settings: FineTuning | None = None,
    advance: Advance | None = None,
) -> Iterator[FineTuned]:
    """Fine-tune along several routes, each from the same weights. A frozen body is computed once for all.

    Args:
        model: A bridge on a Hugging Face model with a tokenizer.
        data: The examples for training and validation.
        routes: The routes; None for the model's own order.
        settings: The settings; None for `FineTuning()`.
        advance: Called with the number of examples since the last call, instead of a progress bar.

    Yields:
        The result of `finetune` for each route, in order.

    Raises:
        TrainingError, CannotReroute, RouteError, LoadError: As `finetune` does.
    """
    settings = settings or FineTuning()
    n_layers = RouteRunner(model).n_layers
    wanted = [as_route(route, n_layers) for route in routes]
    train, validation = (encode(model, split, settings.max_length) for split in (data.train, data.validation))
    work = _Work(model, data, settings, train, validation, PrefixTree(wanted))
    with ticking("fine-tuning", settings.passes * len(train) * len(wanted), advance) as tick:
        for route in wanted:
            yield work.along(route, tick)


class _Work:
    """The shared work of fine-tuning along several routes."""

    def __init__(
        self,
        model: TransformerBridge,
        data: Labelled,
        settings: FineTuning,
        train: Rows,
        validation: Rows,
        tree: PrefixTree,
    ) -> None:
        self.model, self.data, self.settings, self.train, self.validation = model, data, settings, train, validation
        self._tree = tree
        self._features: dict[Place, list[tuple[Rows, dict[Route, Tensor]]]] = {}

    def along(self, route: Route, advance: Advance) -> FineTuned:
        """Train a new head and a copy of the body along a route."""
        labels = self.data.benchmark.labels
        model = classifier(self.model, labels, self.settings.seed)
        with self._answers(model, route) as answer:
            learning = prepare(model, route, self.settings.learns)
            losses = descend(learning, len(self.train), self._loss(model, answer), self.settings, advance)
            model.eval()
            logits = _asked(answer, self.validation)
        if not math.isfinite(losses[-1]):
            logits = torch.full_like(logits, torch.nan)
        truncated = self.train.truncated + self.validation.truncated
        return FineTuned(route, self.settings, self.data, model, logits, losses, truncated)

    def _answers(self, model: TransformerBridge, route: Route) -> AbstractContextManager[Answer]:
        place = place_read(model, self.train.pad) if self.settings.learns == "head" else None
        if place is None:
            return whole_model(model, route)
        if place not in self._features:
            splits = (self.train, self.validation)
            self._features[place] = [(rows, features(self.model, rows, self._tree, place)) for rows in splits]
        return head_alone(model, [(rows, by_route[route]) for rows, by_route in self._features[place]])

    def _loss(self, model: TransformerBridge, answer: Answer) -> Callable[[Tensor], Tensor]:
        labels = torch.tensor([example.label for example in self.data.train], device=model.cfg.device)

        def loss(chosen: Tensor) -> Tensor:
            logits, right = answer(self.train, chosen), labels[chosen.to(labels.device)]
            if self.data.benchmark.labels == 1:
                return functional.mse_loss(logits[:, 0], right)
            return functional.cross_entropy(logits, right.long())

        return loss


def prepare(model: TransformerBridge, route: Route, learns: str) -> list[nn.Parameter]:
    """Give the learning parts their own memory and set them to training mode; freeze the rest."""
    layers = list(model.blocks)
    visited = [layers[i] for i in sorted({layer for step in route.steps for layer in step.layers})]
    skipped = {id(p) for layer in layers if layer not in visited for p in layer.parameters()}
    everything: list[nn.Module] = [cast(Any, model.original_model)]
    parts = {"all": everything, "layers": [*visited, *head(model)], "head": head(model)}[learns]
    chosen = {id(p): p for part in parts for p in part.parameters() if id(p) not in skipped}
    for parameter in model.original_model.parameters():
        parameter.requires_grad_(id(parameter) in chosen)
    make_own(chosen.values())
    for part in parts:
        part.train()
    return list(chosen.values())


def as_route(route: Route | HookSet | None, n_layers: int) -> Route:
    """Check a route, or make one from a hook set."""
    if not isinstance(route, Route):
        hook_set = route or HookSet()
        if not hook_set.only_reroutes():
            raise HookSetError(f"training follows a route; expected hook sets that only reroute, got {hook_set}")
        return hook_set.route(n_layers)
    route.check_model(n_layers)
    return route


def _asked(answer: Answer, rows: Rows) -> Tensor:
    """Answer all rows, batched by length."""
    order = rows.lengths().argsort()
    batches: tuple[Tensor, ...] = torch.split(order, ROWS_AT_ONCE)
    with torch.no_grad():
        logits = torch.cat([answer(rows, chosen) for chosen in batches])
    return logits[order.argsort().to(logits.device)].cpu()
