"""`sweep`: many routes at once on the same tokens, every distinct piece of work done once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.conductor import Conductor
from mechpaint.merge import Merger
from mechpaint.prefixtree import Node, PrefixTree
from mechpaint.recording import Recording, Residual
from mechpaint.reroutable import CannotReroute
from mechpaint.route import Route, RouteError
from mechpaint.showing import Showing, Shown

Positions: TypeAlias = 'Literal["all", "last"] | Bool[Tensor, "batch position"]'

_TAIL_BYTES = 2**27
"""How large a block of logits may be that is computed at once for several routes; a single route's may be larger."""


class Sweep(Showing):
    """Runs routes that share work. Iterate over it for `(route, logits)`, in the order in which they are done.

    `residuals()` gives the final residual streams in place of logits.

    Args:
        model: A TransformerBridge.
        tokens: `[batch, position]` token ids.
        routes: Any routes of this model, or a `PrefixTree` of them. Each distinct route is run once.
        attention_mask: `[batch, position]`, 1 at real tokens, as for `model(tokens, attention_mask=...)`.
        positions: Where logits are wanted. `"all"` gives `[batch, position, vocab]`; `"last"`, the last real token
            of every sequence, gives `[batch, vocab]`; a boolean mask `[batch, position]` gives `[selected, vocab]`,
            row by row. A model that classifies whole sequences gives its own output, `[batch, labels]`, and takes
            `"all"` only.
        inputs: Anything else that `model(tokens, ...)` takes, such as `position_ids` or `token_type_ids`.

    Attributes:
        layer_calls: How many times a layer runs: once for each distinct (incoming residual stream, layer) pair.
        layer_calls_unshared: How many times layers would run if every route ran alone.

    Raises:
        CannotReroute: This model's layers cannot be rerouted, or it has no output at single positions.
        RouteError: No routes, or routes of another number of layers.
        ValueError: Tokens, mask and positions do not fit together.
    """

    def __init__(
        self,
        model: TransformerBridge,
        tokens: Int[Tensor, "batch position"],
        routes: Iterable[Route] | PrefixTree,
        attention_mask: Int[Tensor, "batch position"] | None = None,
        positions: Positions = "all",
        **inputs: Any,
    ) -> None:
        self._conductor = Conductor(model)
        self._tree = routes if isinstance(routes, PrefixTree) else PrefixTree(routes)
        _check(self._tree, self._conductor.n_layers, tokens, attention_mask)
        self._tokens = tokens
        self._attention_mask = attention_mask
        self._inputs = inputs
        whole = isinstance(positions, str) and positions == "all"
        if not whole and not self._conductor.by_position:
            raise CannotReroute(
                f"{type(model.original_model).__name__} has one output for a whole sequence, none at single positions: "
                'expected positions="all"; residuals() has the final residual streams at every position'
            )
        self._selected = _selected(positions, tokens, attention_mask)
        self._shape = tuple(tokens.shape) if whole else (-1,)
        self.layer_calls = self._tree.layer_calls
        self.layer_calls_unshared = self._tree.layer_calls_unshared

    def __len__(self) -> int:
        return len(self._tree.routes)

    def _shown(self) -> Shown:
        shared = f"{self.layer_calls:,}; every route by itself would take {self.layer_calls_unshared:,}"
        facts = [("routes", f"{len(self):,}"), ("layer calls", shared)]
        rows = [(str(route), f"{route.layer_calls:,}") for route in self._tree.routes]
        return Shown("Sweep", facts, ("route", "layer calls alone"), rows)

    def __iter__(self) -> Iterator[tuple[Route, Float[Tensor, "*positions vocab"]]]:
        return self._by_position() if self._conductor.by_position else self._by_sequence()

    def _by_sequence(self) -> Iterator[tuple[Route, Tensor]]:
        for route, residual in self.residuals():
            with torch.no_grad():
                output = self._conductor.output(residual, self._tokens, self._attention_mask, **self._inputs)
            yield route, output

    def _by_position(self) -> Iterator[tuple[Route, Tensor]]:
        waiting: list[tuple[Route, Float[Tensor, "row d_model"]]] = []
        at_once = max(1, self._tail_rows() // max(1, int(self._selected.sum())))
        for route, residual in self.residuals():
            waiting.append((route, residual[self._selected]))
            del residual
            if len(waiting) >= at_once:
                yield from self._logits(waiting)
                waiting = []
        yield from self._logits(waiting)

    def residuals(self) -> Iterator[tuple[Route, Residual]]:
        """Every route with its final residual streams, at the same shared cost. Nothing of the model's tail runs.

        Yields:
            `(route, [batch, position, d_model])`, in the order in which they are done: the residual stream after the
            route's last step, at every position, whatever `positions` says. It is what the model's tail would get:
            a final norm, if the model has one, has *not* been applied (BERT has none: its layers end with a norm, so
            this is its last hidden state). At padding it is as meaningless as there. Other routes may go on from the
            same tensor, so copy it before writing to it.
        """
        with torch.no_grad():
            recording = self._conductor.record(self._tokens, self._attention_mask, **self._inputs)
        branches = [iter([(self._tree.root, recording.embeddings)])]
        while branches:
            found = next(branches[-1], None)
            if found is None:
                branches.pop()
                continue
            node, residual = found
            if node.ends is not None:
                yield node.ends, residual
            branches.append(self._grow(node, residual, recording))
            del found, node, residual

    def _grow(self, node: Node, residual: Residual, recording: Recording) -> Iterator[tuple[Node, Residual]]:
        """The children of a node, each with its residual stream, as soon as the layers that it needs have run."""
        mergers = {step: Merger(step, residual) for step in node.children}
        incoming = [residual]  # so that it can be let go before the last subtree is walked
        del residual
        layers = node.layers()
        for layer in layers:
            with torch.no_grad():
                output = self._conductor.call(layer, incoming[0], recording.layers[layer])
            done: list[tuple[Node, Residual]] = []
            # groups first: the subtree of a single layer is the larger one, and then nothing is left waiting
            for step in sorted((s for s in mergers if layer in s.layers), key=lambda s: -len(s.layers)):
                mergers[step].add(output)
                if mergers[step].complete:
                    done.append((node.children[step], mergers.pop(step).merged()))
            del output
            if layer == layers[-1]:
                incoming.clear()
            while done:
                yield done.pop(0)

    def _logits(self, waiting: list[tuple[Route, Tensor]]) -> Iterator[tuple[Route, Tensor]]:
        if not waiting:
            return
        with torch.no_grad():
            logits = self._conductor.tail(torch.cat([rows for _, rows in waiting]))
        size = int(self._selected.sum())
        blocks: tuple[Tensor, ...] = torch.split(logits, size)
        for (route, _), rows in zip(waiting, blocks, strict=True):
            yield route, rows.reshape(*self._shape, rows.shape[-1])

    def _tail_rows(self) -> int:
        vocabulary = int(getattr(self._conductor.model.cfg, "d_vocab", 0) or 0)
        return _TAIL_BYTES // (4 * max(1, vocabulary))


def sweep(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch position"],
    routes: Iterable[Route] | PrefixTree,
    attention_mask: Int[Tensor, "batch position"] | None = None,
    positions: Positions = "all",
    **inputs: Any,
) -> Sweep:
    """Run many routes on the same tokens, with all the work shared that can be.

    Args:
        model: A TransformerBridge.
        tokens: `[batch, position]` token ids.
        routes: Any routes of this model, or a `PrefixTree` of them. Each distinct route is run once.
        attention_mask: `[batch, position]`, 1 at real tokens, as for `model(tokens, attention_mask=...)`.
        positions: Where logits are wanted: `"all"`, `"last"` or a boolean mask `[batch, position]`; `"all"` for a
            model that classifies whole sequences, which gives `[batch, labels]`.
        inputs: Anything else that `model(tokens, ...)` takes, such as `position_ids` or `token_type_ids`.

    Returns:
        A `Sweep`: nothing has run yet; iterating over it gives `(route, logits)`.

    Raises:
        CannotReroute: This model's layers cannot be rerouted, or it has no output at single positions.
        RouteError: No routes, or routes of another number of layers.
        ValueError: Tokens, mask and positions do not fit together.

    >>> for route, logits in mp.sweep(model, tokens, routes, positions="last"):  # doctest: +SKIP
    ...     print(route, logits.argmax(-1))
    """
    return Sweep(model, tokens, routes, attention_mask, positions, **inputs)


def _check(tree: PrefixTree, n_layers: int, tokens: Tensor, attention_mask: Tensor | None) -> None:
    if not tree.routes:
        raise RouteError("a sweep needs at least one route, got none")
    for route in tree.routes:
        route.check_model(n_layers)
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.numel() == 0:
        raise ValueError(f"tokens must be integers [batch, position], got {tokens.dtype} {tuple(tokens.shape)}")
    if attention_mask is not None and attention_mask.shape != tokens.shape:
        raise ValueError(
            f"attention_mask must have the shape of tokens, {tuple(tokens.shape)}, got {tuple(attention_mask.shape)}"
        )


def _selected(positions: Positions, tokens: Tensor, attention_mask: Tensor | None) -> Tensor:
    """The wanted positions as a boolean mask `[batch, position]`."""
    if isinstance(positions, Tensor):
        if positions.shape != tokens.shape or positions.dtype != torch.bool or not positions.any():
            raise ValueError(
                f"positions must be a boolean mask of shape {tuple(tokens.shape)} with something selected, "
                f"got {positions.dtype} {tuple(positions.shape)}"
            )
        return positions.to(tokens.device)
    if positions == "all":
        return torch.ones_like(tokens, dtype=torch.bool)
    if positions != "last":
        raise ValueError(f'positions must be "all", "last" or a boolean mask, got {positions!r}')
    real = torch.ones_like(tokens) if attention_mask is None else (attention_mask != 0).long()
    order = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    last = (real * order).argmax(dim=1, keepdim=True)
    return torch.zeros_like(tokens, dtype=torch.bool).scatter(1, last, True)
