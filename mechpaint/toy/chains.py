"""Markov chains over symbols: the global statistics of toy sequences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from mechpaint.errors import ToyError

_TOLERANCE = 1e-6
_NORMALISE = "divide by the sum, or give counts to Chain.from_counts"


@dataclass(frozen=True, eq=False)
class Chain:
    """The global statistics of sequences: the first token, and transitions.

    Chains with the same symbols and probabilities are equal. The arrays are copied and made read-only.

    Args:
        symbols: The symbol of each token; a token is an index into them. At least 2, all different.
        initial: Float64 `[vocab]`: probabilities of the first token; the paper's unigram π_u (arXiv 2306.00802,
            section 3).
        transitions: Float64 `[vocab, vocab]`: row v holds the probabilities π_b(·|v) of the token after v.
        name: Name in results.

    Raises:
        ToyError: Fewer than 2 symbols, or one twice; wrong shapes; probabilities that are negative or NaN, or do not
            sum to 1 within 1e-6.
    """

    symbols: tuple[str, ...]
    initial: Float64[np.ndarray, " vocab"]
    transitions: Float64[np.ndarray, "vocab vocab"]
    name: str = "chain"

    def __post_init__(self) -> None:
        symbols = _checked_symbols(self.symbols)
        object.__setattr__(self, "symbols", symbols)
        for field, shape in (("initial", (len(symbols),)), ("transitions", (len(symbols), len(symbols)))):
            values = _checked_values(field, getattr(self, field), shape, symbols)
            _refuse_other_sums(field, values, symbols)
            values.setflags(write=False)
            object.__setattr__(self, field, values)

    @property
    def vocabulary(self) -> int:
        """The number of tokens."""
        return len(self.symbols)

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify symbols and probabilities."""
        digest = hashlib.sha256(json.dumps(self.symbols).encode())
        for values in (self.initial, self.transitions):
            digest.update(values.astype("<f8").tobytes())
        return digest.hexdigest()[:12]

    def describe(self) -> str:
        """Name, size and digest in words."""
        return f"{self.name}: {self.vocabulary} symbols, {self.digest}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def shakespeare(cls) -> Chain:
        """The paper's chain: characters of tiny Shakespeare (1,115,394 characters, 65 distinct).

        This library includes only the counts of characters and of neighbouring pairs, not the text.
        """
        source = resources.files("mechpaint.toy").joinpath("charcounts.json")
        facts = json.loads(source.read_text(encoding="utf-8"))
        return cls.from_counts(facts["chars"], facts["unigram"], facts["bigram"], name="shakespeare")

    @classmethod
    def from_counts(cls, symbols: Sequence[str], unigram: ArrayLike, bigram: ArrayLike, name: str = "counts") -> Chain:
        """Make a chain from counts, or any other weights.

        Args:
            symbols: The symbol of each token.
            unigram: `[vocab]`: counts of tokens.
            bigram: `[vocab, vocab]`: counts of each token (column) after each token (row).
            name: Name of the chain.

        Raises:
            ToyError: Wrong shapes, counts that are negative or NaN, or a token that nothing follows.
        """
        symbols = _checked_symbols(symbols)
        single = _checked_values("unigram", unigram, (len(symbols),), symbols)
        pairs = _checked_values("bigram", bigram, (len(symbols), len(symbols)), symbols)
        if not single.any():
            raise ToyError("the unigram counts are all 0: count at least one token")
        totals = pairs.sum(axis=1, keepdims=True)
        if not totals.all():
            empty = int(np.argmin(totals[:, 0]))
            raise ToyError(
                f"nothing follows {_named(symbols, empty)}: all bigram counts in that row are 0. Leave the symbol out, "
                "or say what may follow it (`bigram + 1` lets everything follow everything)"
            )
        return cls(symbols, single / single.sum(), pairs / totals, name)

    @classmethod
    def from_text(cls, source: str | Path | Iterable[str], name: str | None = None) -> Chain:
        """Make a chain of a text's characters, in the order of their code points.

        If the last character occurs nowhere else, the text is read as a circle, so that something follows it.

        Args:
            source: A file, or a data set on the Hugging Face hub, as for `Text.source`; the first two million
                characters are read. Or the rows themselves: strings, which are joined by line breaks.
            name: Name of the chain; by default that of the file.

        Raises:
            ToyError: Fewer than two different characters.
            TaskError: The source cannot be read.
        """
        if isinstance(source, (str, Path)):
            from mechpaint.data import read_text

            text, name = read_text(str(source)), name or Path(source).name
        else:
            text, name = "\n".join(source), name or "text"
        symbols, unigram, bigram = _counted(text)
        return cls.from_counts(symbols, unigram, bigram, name)

    @classmethod
    def uniform(cls, vocabulary: int) -> Chain:
        """Make a chain in which all tokens are equally likely, independent of context.

        Args:
            vocabulary: The number of tokens.

        Raises:
            ToyError: Fewer than 2 tokens.
        """
        return _memoryless(np.ones(_checked_size(vocabulary)), f"uniform({vocabulary})")

    @classmethod
    def zipf(cls, vocabulary: int, exponent: float = 1.0) -> Chain:
        """Make a chain in which the token of rank r (from 1) has probability proportional to r^-exponent.

        It is memoryless: every row of `transitions` is `initial`. So token frequencies equal `initial` at every
        position, which helps to study rare and frequent triggers.

        Args:
            vocabulary: The number of tokens.
            exponent: The decay over ranks; 0 makes all tokens equally likely.

        Raises:
            ToyError: Fewer than 2 tokens, or an exponent that is NaN or gives probabilities of 0.
        """
        ranks = np.arange(1, _checked_size(vocabulary) + 1, dtype=np.float64)
        weights = np.exp(-exponent * np.log(ranks))
        if not np.isfinite(weights).all() or not weights.all():
            raise ToyError(f"the exponent must be a number of moderate size such as 1.0, got {exponent}")
        return _memoryless(weights, f"zipf({vocabulary}, {exponent})")


def _memoryless(weights: Float64[np.ndarray, " vocab"], name: str) -> Chain:
    symbols = tuple(f"t{i}" for i in range(len(weights)))
    return Chain.from_counts(symbols, weights, np.tile(weights, (len(weights), 1)), name)


def _counted(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Count the characters of a text, and neighbouring pairs."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    if not len(codes):
        raise ToyError("the text is empty: a chain needs at least 2 different characters")
    characters, tokens = np.unique(codes, return_inverse=True)
    size = len(characters)
    unigram = np.bincount(tokens, minlength=size)
    bigram = np.bincount(tokens[:-1] * size + tokens[1:], minlength=size**2).reshape(size, size)
    if not bigram[tokens[-1]].any():
        bigram[tokens[-1], tokens[0]] = 1
    return [chr(code) for code in characters], unigram, bigram


def _checked_size(vocabulary: int) -> int:
    if vocabulary < 2:
        raise ToyError(f"a chain needs at least 2 symbols, got {vocabulary}")
    return vocabulary


def _checked_symbols(symbols: Sequence[str]) -> tuple[str, ...]:
    _checked_size(len(symbols))
    twice = [symbol for i, symbol in enumerate(symbols) if symbol in symbols[:i]]
    if twice:
        raise ToyError(f"the symbol {twice[0]!r} occurs twice: each token needs its own")
    return tuple(symbols)


def _checked_values(name: str, given: ArrayLike, shape: tuple[int, ...], symbols: tuple[str, ...]) -> np.ndarray:
    """A float64 copy."""
    try:
        values = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ToyError(f"{name} must be an array of numbers of shape {list(shape)}: {error}") from None
    if values.shape != shape:
        raise ToyError(f"{name} has shape {list(values.shape)}, expected {list(shape)} for {len(symbols)} symbols")
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = " to ".join(_named(symbols, i) for i in at)
        raise ToyError(f"{name} has {values[at]} for {where}: expected a finite number, 0 or more")
    return values


def _refuse_other_sums(name: str, values: np.ndarray, symbols: tuple[str, ...]) -> None:
    sums = np.atleast_1d(values.sum(axis=-1))
    row = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[row] - 1) <= _TOLERANCE:
        return
    if values.ndim == 1:
        raise ToyError(f"{name} sums to {sums[row]:.8g}, expected 1: {_NORMALISE}")
    if sums[row] == 0:
        raise ToyError(f"nothing follows {_named(symbols, row)}: its row of {name} is all 0. Say what may follow it")
    raise ToyError(f"the row of {_named(symbols, row)} in {name} sums to {sums[row]:.8g}, expected 1: {_NORMALISE}")


def _named(symbols: tuple[str, ...], token: int) -> str:
    return f"{symbols[token]!r} (token {token})"
