"""From a task's items to records: one for every item and route, by way of sweeps over batches of token rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.analysis import Advance
from mechpaint.models import require_language_model
from mechpaint.prefixtree import PrefixTree
from mechpaint.sweeping import Sweep
from mechpaint.tasks.task import Item, Outcome, Task


@dataclass(frozen=True, slots=True)
class Place:
    """Where one token of a choice is foreseen.

    Attributes:
        row: The row of a batch.
        position: The position before it.
        token: Its id.
    """

    row: int
    position: int
    token: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Token rows for one sweep and the places in them that score some items.

    Attributes:
        items: The items.
        rows: The token rows, each for one or more choices.
        places: For each item, for each of its choices, the place of each token.
    """

    items: tuple[Item, ...]
    rows: tuple[tuple[int, ...], ...]
    places: tuple[tuple[tuple[Place, ...], ...], ...]

    @classmethod
    def of(cls, items: Sequence[Item]) -> Batch:
        """One batch out of items.

        Args:
            items: What to score.
        """
        rows: list[tuple[int, ...]] = []
        places: list[tuple[tuple[Place, ...], ...]] = []
        for item in items:
            found = _rows(item)
            places.append(tuple(_places(item, choice, found, len(rows)) for choice in item.choices))
            rows += found
        return cls(tuple(items), tuple(rows), tuple(places))

    def padded(self, device: Any) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]:
        """The rows padded on the right to equal length, and their attention mask.

        Args:
            device: Where to.
        """
        length = max(map(len, self.rows))
        tokens = torch.zeros((len(self.rows), length), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(self.rows):
            tokens[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return tokens.to(device), mask.to(device)


def batches(items: Sequence[Item], rows_at_once: int) -> list[Batch]:
    """Items in batches, those of like length together.

    Args:
        items: What to score.
        rows_at_once: How many token rows a batch has at most; an item with more has a batch of its own.
    """
    ordered = sorted(items, key=lambda item: max(map(len, _rows(item))))
    found: list[Batch] = []
    waiting: list[Item] = []
    rows = 0
    for item in ordered:
        count = len(_rows(item))
        if waiting and rows + count > rows_at_once:
            found.append(Batch.of(waiting))
            waiting, rows = [], 0
        waiting.append(item)
        rows += count
    return [*found, Batch.of(waiting)] if waiting else found


def _rows(item: Item) -> list[tuple[int, ...]]:
    """The rows that an item needs: for each choice prompt and choice less the last token, which nothing reads.

    A row that another begins with is not needed: what comes after a position does not change it in a causal model. So
    choices of a single token share the prompt's row.
    """
    rows = sorted({item.prompt + choice[:-1] for choice in item.choices}, key=len, reverse=True)
    kept: list[tuple[int, ...]] = []
    for row in rows:
        if not any(other[: len(row)] == row for other in kept):
            kept.append(row)
    return kept


def _places(item: Item, choice: tuple[int, ...], rows: list[tuple[int, ...]], offset: int) -> tuple[Place, ...]:
    needed = item.prompt + choice[:-1]
    row = next(i for i, row in enumerate(rows) if row[: len(needed)] == needed)
    first = len(item.prompt) - 1
    return tuple(Place(offset + row, first + i, token) for i, token in enumerate(choice))


def score_items(
    model: TransformerBridge,
    task: Task,
    items: Sequence[Item],
    tree: PrefixTree,
    rows_at_once: int = 32,
    advance: Advance = lambda ticks: None,
) -> Iterator[dict[str, Any]]:
    """Score every item under every route.

    Args:
        model: A causal TransformerBridge.
        task: What the items belong to.
        items: The items.
        tree: The routes.
        rows_at_once: How many token rows go through the model together.
        advance: Called after each route of each batch, with the number of its items.

    Yields:
        Flat records: `task`, `item`, `route`, `score`, `logprob` (nats, summed over the right answer's tokens),
        `tokens` (how many these are), `finite`. Where a log-probability is not a number, `finite` is false and the
        score is NaN, so that it cannot be averaged unnoticed.

    Raises:
        LoadError: The model has no language-modelling head.
    """
    require_language_model(model, f"the task {task}")
    for batch in batches(items, rows_at_once):
        tokens, mask = batch.padded(model.cfg.device)
        positions, index, targets = _selection(batch, tokens)
        for route, logits in Sweep(model, tokens, tree, mask, positions):
            logprobs, greedy = _foreseen(logits, index, targets)
            yield from _records(task, batch, str(route), cast(Any, logprobs).tolist(), cast(Any, greedy).tolist())
            advance(len(batch.items))


def _selection(
    batch: Batch, tokens: Tensor
) -> tuple[Bool[Tensor, "row position"], Int[Tensor, " place"], Int[Tensor, " place"]]:
    """The positions that are scored; and for each place, which of them it is and the token it asks for."""
    places = [place for item in batch.places for choice in item for place in choice]
    distinct = sorted({(place.row, place.position) for place in places})
    number = {where: i for i, where in enumerate(distinct)}
    positions = torch.zeros_like(tokens, dtype=torch.bool)
    for row, position in distinct:
        positions[row, position] = True
    index = torch.tensor([number[place.row, place.position] for place in places], device=tokens.device)
    targets = torch.tensor([place.token for place in places], device=tokens.device)
    return positions, index, targets


def _foreseen(
    logits: Float[Tensor, "position vocab"], index: Int[Tensor, " place"], targets: Int[Tensor, " place"]
) -> tuple[Float[Tensor, " place"], Bool[Tensor, " place"]]:
    """The log-probability of each place's token, and whether it was the likeliest."""
    logits = logits.float()
    logprobs = logits[index, targets] - logits.logsumexp(dim=-1)[index]
    return logprobs, logits.argmax(dim=-1)[index] == targets


def _records(
    task: Task, batch: Batch, route: str, logprobs: list[float], greedy: list[bool]
) -> Iterator[dict[str, Any]]:
    at = 0
    for item, places in zip(batch.items, batch.places, strict=True):
        sums: list[float] = []
        guessed: tuple[bool, ...] = ()
        for i, choice in enumerate(places):
            sums.append(sum(logprobs[at : at + len(choice)]))
            if i == item.answer:
                guessed = tuple(greedy[at : at + len(choice)])
            at += len(choice)
        outcome = Outcome(tuple(sums), guessed)
        yield {
            "task": str(task),
            "item": item.name,
            "route": route,
            "score": task.score(item, outcome) if outcome.finite else float("nan"),
            "logprob": sums[item.answer],
            "tokens": len(item.choices[item.answer]),
            "finite": outcome.finite,
        }
