"""`sweep`: many routes at once on the same tokens, every distinct piece of work done once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.display.summary import Summarized, Summary
from mechpaint.engine.arguments import Routing, Text, as_tree
from mechpaint.engine.batch_size import clear_device_cache, is_out_of_memory, tokens_that_pay
from mechpaint.engine.editing import check_effective
from mechpaint.engine.fused_attention import fastest_attention
from mechpaint.engine.layer_inputs import LayerInputs, Residual
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.row_edits import row_edits
from mechpaint.engine.sweep_inputs import (
    Positions,
    check_evaluating,
    check_inputs,
    checked_size,
    checked_tokens,
    selected,
)
from mechpaint.engine.token_tree import TokenTree, shareable
from mechpaint.engine.tree_attention import can_share, record_packed
from mechpaint.errors import CannotReroute, RouteError
from mechpaint.routes.edits import Given
from mechpaint.routes.merge import GroupMerge
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.routes.schedule import Schedule
from mechpaint.routes.stages import Call, EditedRoute
from mechpaint.routes.walk import Stream, Waiting, walk

TAIL_BYTES = 2**27
"""The most bytes of logits that are computed at once for several routes; a single route's may be larger."""

MAX_VISITS_PER_CALL = 32
"""The most visits of a call: more save no calls."""


class Sweep(Summarized):
    """Runs routes that share work. Iterate over it for `(route, logits)`, in the order in which they are done.

    `residuals()` gives the final residual streams in place of logits.

    Args:
        model: A TransformerBridge.
        tokens: `[batch, position]` token ids; or a text, or several, which are padded on the right and masked.
        routes: Routes of this model, hook sets that reroute and change activations, and texts of either; or a
            `PrefixTree`. Each distinct one runs once; what comes before the first change is shared with the others.
        attention_mask: `[batch, position]`, 1 at real tokens, as for `model(tokens, attention_mask=...)`.
        positions: Where logits are wanted. `"all"` gives `[batch, position, vocab]`; `"last"`, the last real token
            of every sequence, gives `[batch, vocab]`; a boolean mask `[batch, position]` gives `[selected, vocab]`,
            row by row. A model that classifies whole sequences gives its own output, `[batch, labels]`, and takes
            `"all"` only.
        max_batch_tokens: Up to how many tokens a layer call may have when visits of several routes are batched in it:
            by default as many as make it faster on such a device; 1 batches none. Batched results differ by rounding.
        inputs: Anything else that `model(tokens, ...)` takes, such as `position_ids` or `token_type_ids`.

    Attributes:
        layer_calls: How many times a layer runs on the tokens: once for each distinct (incoming residual stream, layer)
            pair. Several of one layer may be rows of one batch.
        watch: Called with how many of these have been made since it was called before; does nothing unless it is set.
        layer_calls_unshared: How many times layers would run if every route ran alone.

    Raises:
        CannotReroute: This model's layers cannot be rerouted, or it has no output at single positions.
        RouteError: No routes, or routes of another number of layers.
        HookSetError: Hook sets that cannot be read, that read or hook, or whose changes do not fit model and tokens.
        LoadError: A text for a model without a tokenizer.
        InputError: Tokens, mask and positions that do not fit together or the model, inputs that would be ignored, or a
            model in training mode with dropout.
    """

    def __init__(
        self,
        model: TransformerBridge,
        tokens: Text,
        routes: Routing | Iterable[Routing] | PrefixTree,
        attention_mask: Int[Tensor, "batch position"] | None = None,
        positions: Positions = "all",
        max_batch_tokens: int | None = None,
        **inputs: Any,
    ) -> None:
        self._runner = RouteRunner(model)
        self._tree = as_tree(routes, self._runner.n_layers)
        _check_routes(self._tree, self._runner.n_layers)
        check_evaluating(model)
        self._tokens, self._attention_mask = tokens, attention_mask = checked_tokens(model, tokens, attention_mask)
        check_inputs(model, tokens, inputs)
        self._inputs = inputs
        self._max_batch_tokens = checked_size(max_batch_tokens) or tokens_that_pay(tokens.device)
        whole = isinstance(positions, str) and positions == "all"
        self._whole_rows = self._runner.tail_is_hooked
        edited = any(isinstance(route, EditedRoute) for route in self._tree.routes)
        self._packed = None if edited or _given(inputs) else shareable(tokens, attention_mask, int(model.cfg.d_model))
        self.watch: Callable[[int], None] = lambda layer_calls: None
        if not whole and not self._runner.by_position:
            raise CannotReroute(
                f"{type(model.original_model).__name__} has one output for a whole sequence, none at single positions: "
                'expected positions="all"; residuals() has the final residual streams at every position'
            )
        self._given = self._checked_edits()
        self._selected = selected(positions, tokens, attention_mask)
        self._size = int(self._selected.sum())
        self._shape = tuple(tokens.shape) if whole else (-1,)
        self.layer_calls = self._tree.layer_calls
        self.layer_calls_unshared = self._tree.layer_calls_unshared

    def __len__(self) -> int:
        return len(self._tree.routes)

    def _checked_edits(self) -> Given | None:
        """What edits are told, once all fit the model and the tokens; None if there are none."""
        routes = [route for route in self._tree.routes if isinstance(route, EditedRoute)]
        if not routes:
            return None
        for route in routes:
            given = self._runner.given_rows(route, self._tokens.shape, self._attention_mask)
            for edit, visits in route.edits:
                check_effective(self._runner, edit.point, {visit.layer for visit in visits})
                edit.change.check(edit.point, visits, given)
        return self._runner.given_rows(routes[0], self._tokens.shape, self._attention_mask)

    @property
    def shares_tokens(self) -> bool:
        """Whether rows that begin alike run their beginnings once: where that saves enough, and is exact.

        It is not for models that are no causal transformers, have positions or masks of their own making, or have hooks
        anywhere; nor with padding on the left or `inputs`. Found out by a comparison, once a model.
        """
        return self._shared_tree() is not None

    @property
    def computed_positions(self) -> int:
        """The positions that each of the layer calls computes: of all rows, or of what is distinct of them.

        Padding included.
        """
        tree = self._shared_tree()
        return (self._tokens if tree is None else tree.tokens).numel()

    def _shared_tree(self) -> TokenTree | None:
        """The rows packed, if they can be run like that as the model is now."""
        if self._packed is None:
            return None
        with torch.no_grad():
            layers = self._runner.fastest()
            attention = fastest_attention(self._runner, layers)
            lengths = self._tokens.shape[1], self._packed.tokens.shape[1]
            return self._packed if can_share(self._runner, layers, attention, *lengths) else None

    def _summary(self) -> Summary:
        shared = f"{self.layer_calls:,}; every route by itself would take {self.layer_calls_unshared:,}"
        facts = [("routes", f"{len(self):,}"), ("layer calls", shared)]
        with suppress(CannotReroute):  # while the model is attached nobody can tell
            facts.append(("positions a call", f"{self.computed_positions:,} of {self._tokens.numel():,}"))
        rows = [(_shown(route), f"{route.layer_calls:,}") for route in self._tree.routes]
        return Summary("Sweep", facts, ("route", "layer calls alone"), rows)

    def __iter__(self) -> Iterator[tuple[Route, Float[Tensor, "*positions vocab"]]]:
        return self._by_position() if self._runner.by_position else self._by_sequence()

    def _by_sequence(self) -> Iterator[tuple[Route, Tensor]]:
        for route, residual in self.residuals():
            yield route, self._output(residual)

    def _output(self, residual: Residual) -> Tensor:
        """What the model's tail makes of whole rows."""
        with torch.no_grad():
            return self._runner.output(residual, self._tokens, self._attention_mask, **self._inputs)

    def _by_position(self) -> Iterator[tuple[Route, Tensor]]:
        for route, rows, logits in self._in_blocks(max(self._tail_rows(), self._size), distinct=True):
            every = logits if rows is None else logits[rows.to(logits.device)]
            yield route, every.reshape(*self._shape, logits.shape[-1])

    def blocks(self) -> Iterator[tuple[Route, slice, Float[Tensor, "position vocab"]]]:
        """Every route's logits in blocks of bounded memory, where one would be enough to make something of them.

        Yields:
            `(route, positions, logits)`: logits at some of the positions that were asked for, which are counted row by
            row. All of a route's blocks come after each other, in order.
        """
        done = 0
        for route, _, logits in self._in_blocks(self._tail_rows(), distinct=False):
            yield route, slice(done, done + len(logits)), logits
            done = (done + len(logits)) % self._size

    def distinct_blocks(self) -> Iterator[tuple[Route, Int[Tensor, " selected"], Float[Tensor, "distinct vocab"]]]:
        """As `blocks`, but positions up to which tokens are the same have their logits computed once.

        Yields:
            `(route, rows, logits)`: for each of the positions that were asked for, counted row by row, which row of the
            logits is its own; -1 if it is in another block of the route.
        """
        every, left = torch.arange(self._size, device=self._tokens.device), 0
        for route, rows, logits in self._in_blocks(self._tail_rows(), distinct=True):
            rows = every if rows is None else rows
            distinct = int(rows.max()) + 1
            left = left or distinct
            here = rows - (distinct - left)
            yield route, here.masked_fill((here < 0) | (here >= len(logits)), -1), logits
            left -= len(logits)

    def _in_blocks(self, most: int, distinct: bool) -> Iterator[tuple[Route, Tensor | None, Tensor]]:
        """Logits, and which of the route's rows are those of the positions asked for; None if they are in order."""
        if self._whole_rows:  # a hook on the tail may look at other positions
            for route, residual in self.residuals():
                output = self._output(residual)
                yield route, None, output[self._selected.to(output.device)]
            return
        waiting: list[_Streams] = []
        for streams in self._asked_for(distinct):
            if waiting and sum(len(each.residual) for each in (*waiting, streams)) > most:
                yield from self._logits(waiting, most)
                waiting = []
            waiting.append(streams)
        yield from self._logits(waiting, most)

    def _asked_for(self, distinct: bool) -> Iterator[_Streams]:
        """Every route's residual streams at the positions asked for."""
        for route, residual, tree in self._ends():
            if tree is None:
                yield _Streams(route, residual[self._selected.to(residual.device)], None)
            else:
                nodes = tree.index[self._selected]
                rows: Tensor | None = None
                if distinct:
                    nodes, rows = cast("tuple[Tensor, Tensor]", cast(Any, torch).unique(nodes, return_inverse=True))
                yield _Streams(route, tree.at(residual, nodes), rows)

    def residuals(self) -> Iterator[tuple[Route, Residual]]:
        """Every route with its final residual streams, at the same shared cost. Nothing of the model's tail runs.

        Yields:
            `(route, [batch, position, d_model])`, in the order in which they are done: the residual stream after the
            route's last step, at every position, whatever `positions` says. It is what the model's tail would get:
            a final norm, if the model has one, has *not* been applied (BERT has none: its layers end with a norm, so
            this is its last hidden state). At padding it is as meaningless as there. Other routes may go on from the
            same tensor, so copy it before writing to it.
        """
        for route, residual, tree in self._ends():
            yield route, residual if tree is None else tree.at(residual, tree.index)

    def _ends(self) -> Iterator[tuple[Route, Residual, TokenTree | None]]:
        """Every route with its final residual streams, of rows or packed."""
        packed = self._shared_tree()
        infinite: list[Route] = []
        for route, residual in self._walk(self._tree, packed, self.watch):
            if packed is not None and not residual.isfinite().all():
                infinite.append(route)
            else:
                yield route, residual, packed
        # what is not finite reaches all of a packed row, though attention to it is 0
        for route, residual in self._in_rows(infinite):
            yield route, residual, None

    def _in_rows(self, routes: list[Route]) -> Iterator[tuple[Route, Residual]]:
        """Routes run without token trees, and with so few rows a call that they take no more memory."""
        most = max(self._max_batch_tokens, self.computed_positions) // self._tokens.shape[1]
        if most >= len(self._tokens):
            yield from self._walk(PrefixTree(routes), None)
            return
        some = [slice(first, first + max(1, most)) for first in range(0, len(self._tokens), max(1, most))]
        for route in routes:
            yield (
                route,
                torch.cat([part for rows in some for _, part in self._walk(PrefixTree([route]), None, rows=rows)]),
            )

    def _walk(
        self,
        tree: PrefixTree,
        packed: TokenTree | None,
        watch: Callable[[int], None] = lambda layer_calls: None,
        rows: slice = slice(None),
    ) -> Iterator[tuple[Route, Residual]]:
        mask = self._attention_mask
        calls = _Calls(self._runner, self._tokens[rows], mask if mask is None else mask[rows], self._inputs, packed)
        calls.given = self._given
        visits = visits_per_call(calls.positions, self._max_batch_tokens)
        schedule = Schedule[Stream[Residual]](1 if calls.has_user_hooks else visits)

        def outputs(layer: int, waiting: Sequence[Waiting[Residual]]) -> list[Residual]:
            made = calls.outputs(schedule, layer, waiting)
            watch(len(waiting))
            return made

        yield from walk(tree, schedule, calls.embeddings, GroupMerge, outputs)

    def _logits(self, waiting: list[_Streams], most: int) -> Iterator[tuple[Route, Tensor | None, Tensor]]:
        """The logits of some routes, which are few enough for one block, or of a single one in several."""
        if len(waiting) > 1:
            with torch.no_grad():
                logits = self._runner.tail(_joined([streams.residual for streams in waiting]))
            parts = torch.split(logits, [len(streams.residual) for streams in waiting])
            for streams, part in zip(waiting, parts, strict=True):
                yield streams.route, streams.rows, part
            return
        for streams in waiting:
            for some in torch.split(streams.residual, most):
                with torch.no_grad():
                    logits = self._runner.tail(some)
                yield streams.route, streams.rows, logits
                del logits

    def _tail_rows(self) -> int:
        vocabulary = int(getattr(self._runner.model.cfg, "d_vocab", 0) or 0)
        return max(1, TAIL_BYTES // (4 * max(1, vocabulary)))


@dataclass(frozen=True, slots=True)
class _Streams:
    """A route's residual streams at the positions asked for, and which of these have which; None if in order."""

    route: Route
    residual: Float[Tensor, "distinct d_model"]
    rows: Int[Tensor, " selected"] | None


class _Calls:
    """The layer calls of one sweep: each on one stream or more, which are rows of a batch then."""

    def __init__(
        self,
        runner: RouteRunner,
        tokens: Tensor,
        attention_mask: Tensor | None,
        inputs: dict[str, Any],
        packed: TokenTree | None,
    ) -> None:
        self._runner = runner
        self._inputs = {"tokens": tokens, "attention_mask": attention_mask, **inputs}
        self._packed = packed
        self._rows = len(tokens if packed is None else packed.tokens)
        self.positions = (tokens if packed is None else packed.tokens).numel()
        self._recordings: dict[tuple[bool, int], LayerInputs] = {}
        self.given: Given | None = None
        """What the edits of this sweep are told."""
        with torch.no_grad():
            self._layers = runner.fastest()
            self._attention = fastest_attention(runner, self._layers)
        self.has_user_hooks = self._layers is runner.layers and runner.has_user_hooks()
        """True if hooks in the layers expect the batch as it is."""
        self.embeddings = self._recording(1).embeddings

    def outputs(
        self, schedule: Schedule[Stream[Residual]], layer: int, waiting: Sequence[Waiting[Residual]]
    ) -> list[Residual]:
        """A layer's output for each stream. Out of memory, halve the call, and let the schedule give fewer from now."""
        try:
            return self._outputs(layer, waiting)
        except Exception as error:
            if len(waiting) == 1 or not is_out_of_memory(error):
                raise
        schedule.per_call = half = len(waiting) // 2
        self._recordings = {key: inputs for key, inputs in self._recordings.items() if key[1] <= half}
        clear_device_cache()
        return [*self.outputs(schedule, layer, waiting[:half]), *self.outputs(schedule, layer, waiting[half:])]

    def _outputs(self, layer: int, waiting: Sequence[Waiting[Residual]]) -> list[Residual]:
        """Those without edits in one call, without hook points if that is possible; those with edits in another."""
        if not self.has_user_hooks and self._layers is self._runner.layers and self._runner.has_user_hooks():
            raise CannotReroute("hooks were added while this sweep was under way: run it to its end first")
        made: dict[int, Residual] = {}
        for edited in (False, True):
            some = [i for i, (_, call) in enumerate(waiting) if bool(call.edits) is edited]
            if some:
                made.update(zip(some, self._together(layer, [waiting[i] for i in some], edited), strict=True))
        return [made[i] for i in range(len(waiting))]

    def _together(self, layer: int, waiting: Sequence[Waiting[Residual]], edited: bool) -> Sequence[Residual]:
        """A layer's output for streams that are rows of one call."""
        residuals = [stream.residual for stream, _ in waiting if stream.residual is not None]
        together = _joined(residuals)
        arguments = self._recording(len(residuals), edited).layers[layer]
        with torch.no_grad(), self._edits(layer, [call for _, call in waiting]) if edited else self._attention():
            block = self._runner.layers[layer] if edited else self._layers[layer]
            output = self._runner.call(layer, together, arguments, block)
        if len(residuals) == 1:
            return [output]
        # copies: a view would keep all rows in memory for as long as one waits
        parts: tuple[Tensor, ...] = torch.split(output, self._rows)
        return [rows.clone() for rows in parts]

    def _edits(self, layer: int, calls: Sequence[Call]) -> AbstractContextManager[None]:
        """Within this context a layer that runs changes each stream's rows as its call says."""
        if self.given is None:
            raise RuntimeError("the sweep has edits that were not checked")
        return row_edits(self._runner, layer, calls, self._rows, self.given)

    def _recording(self, copies: int, edited: bool = False) -> LayerInputs:
        """The layers' inputs for so many copies of the batch, as Hugging Face makes them.

        Edited layers are the bridge's own, whose attention is not fused: its masks are of another form.
        """
        recorded = self._recordings.get((edited, copies))
        if recorded is None:
            with torch.no_grad(), nullcontext() if edited else self._attention():
                recorded = self._recordings[edited, copies] = self._record(copies)
        return recorded

    def _record(self, copies: int) -> LayerInputs:
        if self._packed is not None:
            return record_packed(self._runner, self._packed, copies)
        return self._runner.record(**{name: self._times(copies, v) for name, v in self._inputs.items()})

    def _times(self, copies: int, value: Any) -> Any:
        """An input for so many copies of the batch, if it has a row for each of the batch's."""
        if copies == 1 or not isinstance(value, Tensor) or value.ndim == 0 or len(value) != self._rows:
            return value
        return value.repeat(copies, *[1] * (value.ndim - 1))


def sweep(
    model: TransformerBridge,
    tokens: Text,
    routes: Routing | Iterable[Routing] | PrefixTree,
    attention_mask: Int[Tensor, "batch position"] | None = None,
    positions: Positions = "all",
    max_batch_tokens: int | None = None,
    **inputs: Any,
) -> Sweep:
    """Run many routes on the same tokens, with all the work shared that can be.

    Args:
        model: A TransformerBridge.
        tokens: `[batch, position]` token ids; or a text, or several, which are padded on the right and masked.
        routes: Routes of this model, hook sets that reroute and change activations, and texts of either; or a
            `PrefixTree`. Each distinct one runs once; what comes before the first change is shared with the others.
        attention_mask: `[batch, position]`, 1 at real tokens, as for `model(tokens, attention_mask=...)`.
        positions: Where logits are wanted: `"all"`, `"last"` or a boolean mask `[batch, position]`; `"all"` for a
            model that classifies whole sequences, which gives `[batch, labels]`.
        max_batch_tokens: Up to how many tokens a layer call may have when visits of several routes are batched in it:
            by default as many as make it faster on such a device; 1 batches none. Batched results differ by rounding.
        inputs: Anything else that `model(tokens, ...)` takes, such as `position_ids` or `token_type_ids`.

    Returns:
        A `Sweep`: nothing has run yet; iterating over it gives `(route, logits)`.

    Raises:
        CannotReroute: This model's layers cannot be rerouted, or it has no output at single positions.
        RouteError: No routes, or routes of another number of layers.
        HookSetError: Hook sets that cannot be read, that read or hook, or whose changes do not fit model and tokens.
        LoadError: A text for a model without a tokenizer.
        InputError: Tokens, mask and positions that do not fit together or the model, inputs that would be ignored, or a
            model in training mode with dropout.

    >>> routes = ["0-17", "0-3 14-17", Skip(4, 7)]  # doctest: +SKIP
    >>> for route, logits in mp.sweep(model, "The capital of France is", routes, positions="last"):  # doctest: +SKIP
    ...     print(route, logits.argmax(-1))
    """
    return Sweep(model, tokens, routes, attention_mask, positions, max_batch_tokens, **inputs)


def _shown(route: Route) -> str:
    return repr(route) if isinstance(route, EditedRoute) else str(route)


def _joined(streams: list[Tensor]) -> Tensor:
    """One batch; where layers are on several devices, on the first one's."""
    return streams[0] if len(streams) == 1 else torch.cat([stream.to(streams[0].device) for stream in streams])


def visits_per_call(tokens: int, max_batch_tokens: int) -> int:
    """The most visits of a layer that share a call."""
    return max(1, min(MAX_VISITS_PER_CALL, max_batch_tokens // tokens))


def _given(inputs: dict[str, Any]) -> bool:
    return any(value is not None for value in inputs.values())


def _check_routes(tree: PrefixTree, n_layers: int) -> None:
    if not tree.routes:
        raise RouteError("a sweep needs at least one route, got none")
    for route in tree.routes:
        route.check_model(n_layers)
