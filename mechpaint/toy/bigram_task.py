"""The in-context bigram task (arXiv 2306.00802, section 3): a Markov chain in which some tokens are triggers.

Every sequence assigns each of its triggers an output, which then always follows it. Other transitions follow global
statistics; after a trigger, only its earlier occurrences tell what follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64

from mechpaint.errors import ToyError
from mechpaint.toy.chains import Chain
from mechpaint.toy.sampling import AliasTable, walk

if TYPE_CHECKING:
    from datasets import IterableDataset


@dataclass(frozen=True, eq=False)
class ToyBatch:
    """Sequences of the in-context bigram task; all int64.

    Attributes:
        tokens: `[batch, length]`.
        targets: `[batch, length]`: the token after each of `tokens`.
        occurrences: `[batch, length]`: n at the n-th occurrence of a trigger, from 1, where the target is its output;
            0 where the target was drawn from the chain.
        triggers: `[batch, k]`: the triggers q_k of each sequence.
        outputs: `[batch, k]`: their outputs o_k.
    """

    tokens: Int64[torch.Tensor, "batch length"]
    targets: Int64[torch.Tensor, "batch length"]
    occurrences: Int64[torch.Tensor, "batch length"]
    triggers: Int64[torch.Tensor, "batch k"]
    outputs: Int64[torch.Tensor, "batch k"]

    def to(self, device: torch.device | str) -> ToyBatch:
        """Move the batch to another device.

        Args:
            device: A device such as `"cuda"`.
        """
        return ToyBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class BigramTask:
    """A source of sequences. Batches are pure functions of the task, their size, a seed and an index.

    Args:
        chain: The global statistics π_u and π_b.
        triggers: K, the number of triggers per sequence; 0 for the plain chain.
        fixed: True for the same triggers in all sequences, the most probable tokens of `chain.initial`. Otherwise each
            sequence draws its own from `chain.initial`, without replacement.
        offset: The number of most frequent tokens to skip before choosing fixed triggers, for rarer ones.
        outputs: The distribution of outputs, drawn per sequence: uniform, or the chain's π_b(·|trigger).
        no_repeat: True if a trigger is never its own output.
        held_out: Tokens that are never outputs; the distributions above are conditioned on this.

    Raises:
        ToyError: More triggers than tokens to choose from, an offset without fixed triggers, unknown tokens, or a
            trigger without any possible output.
    """

    chain: Chain
    triggers: int = 5
    fixed: bool = True
    offset: int = 0
    outputs: Literal["uniform", "bigram"] = "uniform"
    no_repeat: bool = False
    held_out: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._check_triggers()
        if self.outputs not in ("uniform", "bigram"):
            raise ToyError(f"outputs must be 'uniform' or 'bigram', got {self.outputs!r}")
        unknown = [token for token in self.held_out if not 0 <= token < self.chain.vocabulary]
        if unknown:
            raise ToyError(
                f"held_out has the token {unknown[0]}; the chain's tokens are 0 to {self.chain.vocabulary - 1}"
            )
        object.__setattr__(self, "held_out", tuple(sorted({int(token) for token in self.held_out})))
        weights = _output_weights(self)
        stuck = [token for token in self._candidates() if not weights[token].any()]
        if stuck:
            raise ToyError(
                f"no output is left for the trigger {self.chain.symbols[stuck[0]]!r} (token {stuck[0]}) with "
                f"outputs={self.outputs!r}, no_repeat={self.no_repeat} and {len(self.held_out)} tokens held out: "
                "hold out fewer, or draw outputs uniformly"
            )

    @property
    def fixed_triggers(self) -> tuple[int, ...]:
        """The triggers of all sequences, the most frequent first; empty if each sequence has its own."""
        if not self.fixed:
            return ()
        order = np.argsort(-self.chain.initial, kind="stable")
        return tuple(order[self.offset : self.offset + self.triggers].tolist())

    def settings(self) -> dict[str, object]:
        """Everything that sequences depend on besides size, length, seed and index, ready for JSON."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"task": "bigram", **own, "chain": self.chain.describe(), "held_out": list(self.held_out)}

    def held_out_test(self) -> BigramTask:
        """The same task with outputs uniform over the held-out tokens, which training never showed.

        Raises:
            ToyError: No token is held out, or a trigger is left without an output.
        """
        if not self.held_out:
            raise ToyError("no token is held out, so there is nothing to test on: give the task held_out=(…)")
        others = tuple(sorted(set(range(self.chain.vocabulary)) - set(self.held_out)))
        return replace(self, outputs="uniform", held_out=others)

    def batch(self, size: int, length: int, seed: int, index: int = 0) -> ToyBatch:
        """Make one batch, always the same for the same arguments.

        Args:
            size: The number of sequences.
            length: Tokens per sequence; the last target is one more.
            seed: Seed of the series of batches, 0 or more.
            index: Index in the series, 0 or more. Batches of a series are independent.

        Raises:
            ToyError: A size below 1, a length below 2, or a negative seed or index.
        """
        _check_sizes(size, length, seed, index)
        rng, vocabulary, laws = np.random.default_rng([seed, index]), self.chain.vocabulary, self._laws
        triggers = self._draw_triggers(size, rng)
        outputs = laws.outputs.draw(triggers, rng.random(triggers.shape))
        first = laws.initial.draw(np.zeros(size, np.int64), rng.random(size))
        rows = np.tile(np.arange(vocabulary), (size, 1))
        np.put_along_axis(rows, triggers, vocabulary + outputs, axis=1)
        made = walk(first, rng.random((size, length)), laws.steps, rows)
        return ToyBatch(*(torch.from_numpy(values) for values in (*made, triggers, outputs)))

    def batches(self, size: int, length: int, seed: int, start: int = 0) -> Iterator[ToyBatch]:
        """Make endless batches with the indices `start`, `start + 1`, …: to resume after n batches, start at n.

        Args:
            size: Sequences per batch.
            length: Tokens per sequence.
            seed: Seed of the series.
            start: Index of the first batch.
        """
        _check_sizes(size, length, seed, start)
        return (self.batch(size, length, seed, index) for index in itertools.count(start))

    def dataset(self, length: int, seed: int, size: int = 256, start: int = 0) -> IterableDataset:
        """Make an endless Hugging Face data set of the sequences in `batches`.

        Args:
            length: Tokens per sequence.
            seed: Seed of the series.
            size: Sequences generated together. Another size gives other sequences.
            start: Index of the first batch.

        Returns:
            Rows with int64 arrays `tokens`, `targets` and `occurrences`, each `[length]`; `with_format("torch")` gives
            tensors.
        """
        from datasets import IterableDataset

        _check_sizes(size, length, seed, start)
        arguments = {"task": self, "size": size, "length": length, "seed": seed, "start": start}
        # with declared features, `datasets` would turn arrays into lists of numbers, a hundred times slower
        return IterableDataset.from_generator(_rows, gen_kwargs=arguments)

    @cached_property
    def _laws(self) -> _Laws:
        weights = _output_weights(self)
        weights[~weights.any(axis=1)] = 1  # tokens that are never triggers
        # after a trigger, a row that always gives its output
        steps = np.vstack([self.chain.transitions, np.eye(self.chain.vocabulary)])
        return _Laws(AliasTable.of(self.chain.initial[None]), AliasTable.of(steps), AliasTable.of(weights))

    def _draw_triggers(self, size: int, rng: np.random.Generator) -> Int64[np.ndarray, "size k"]:
        """Draw the triggers of each sequence; random ones in the order of drawing one by one."""
        if self.fixed or not self.triggers:
            return np.tile(np.array(self.fixed_triggers, np.int64), (size, 1))
        candidates = np.array(self._candidates())
        # Waiting times with rates p: the first to arrive is a draw from p, the next one a draw from the rest.
        waiting = rng.standard_exponential((size, len(candidates)))
        waiting /= self.chain.initial[candidates]
        drawn, sequences = np.empty((self.triggers, size), np.int64), np.arange(size)
        for earliest in drawn:
            waiting.argmin(axis=1, out=earliest)
            waiting[sequences, earliest] = np.inf
        return np.ascontiguousarray(candidates[drawn].T)

    def _candidates(self) -> tuple[int, ...]:
        """All tokens that can be triggers."""
        if self.fixed or not self.triggers:
            return self.fixed_triggers
        return tuple(np.flatnonzero(self.chain.initial).tolist())

    def _check_triggers(self) -> None:
        available = int(np.count_nonzero(self.chain.initial))
        if self.triggers < 0 or self.offset < 0:
            raise ToyError(f"triggers and offset must be 0 or more, got triggers={self.triggers}, offset={self.offset}")
        if self.offset and not self.fixed:
            raise ToyError(
                f"offset={self.offset} needs fixed triggers, and these are random: leave it out, or set fixed=True"
            )
        if self.triggers + self.offset > available:
            passed = f" after skipping {self.offset}" if self.offset else ""
            raise ToyError(
                f"{self.triggers} triggers{passed} are too many: "
                f"the chain {self.chain.name} has {available} tokens with a probability above 0"
            )


@dataclass(frozen=True, eq=False)
class _Laws:
    """The distributions of the first token, of the next one by `walk`'s rows, and of a trigger's output."""

    initial: AliasTable
    steps: AliasTable
    outputs: AliasTable


def _output_weights(task: BigramTask) -> Float64[np.ndarray, "vocab vocab"]:
    """Unnormalised probabilities of each output (column) of each trigger (row)."""
    chain = task.chain
    weights = np.ones_like(chain.transitions) if task.outputs == "uniform" else chain.transitions.copy()
    weights[:, list(task.held_out)] = 0
    if task.no_repeat:
        np.fill_diagonal(weights, 0)
    return weights


def _rows(task: BigramTask, size: int, length: int, seed: int, start: int) -> Iterator[dict[str, np.ndarray]]:
    for batch in task.batches(size, length, seed, start):
        columns = {name: getattr(batch, name).numpy() for name in ("tokens", "targets", "occurrences")}
        yield from ({name: values[i] for name, values in columns.items()} for i in range(size))


def _check_sizes(size: int, length: int, seed: int, index: int) -> None:
    if size < 1:
        raise ToyError(f"a batch needs at least 1 sequence, got size={size}")
    if length < 2:
        raise ToyError(f"sequences of length {length} are too short: a repeated trigger needs at least 2 tokens")
    if seed < 0 or index < 0:
        raise ToyError(f"seed and index must be 0 or more, got seed={seed}, index={index}")
