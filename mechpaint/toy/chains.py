"""Markov chains over symbols: what follows what when no context tells otherwise."""

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
    """The global statistics of sequences: which token comes first, and which follows which.

    Equal chains are those with the same symbols and probabilities.

    Args:
        symbols: What each token stands for; a token is an index into them. At least 2, all different.
        initial: Float64 `[vocab]`: probabilities of the first token; the paper's unigram π_u (arXiv 2306.00802,
            section 3).
        transitions: Float64 `[vocab, vocab]`: row v holds the probabilities π_b(·|v) of the token after v.
        name: What it is called in results.

    The arrays are copied, and the copies are read-only.

    Raises:
        ToyError: Fewer than 2 symbols or a symbol twice; another shape; probabilities that are negative, no numbers,
            or do not sum to 1 within 1e-6.
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
        """How many tokens there are."""
        return len(self.symbols)

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that two chains share only if symbols and probabilities are the same."""
        digest = hashlib.sha256(json.dumps(self.symbols).encode())
        for values in (self.initial, self.transitions):
            digest.update(values.astype("<f8").tobytes())
        return digest.hexdigest()[:12]

    def describe(self) -> str:
        """Its name, size and digest, for people."""
        return f"{self.name}: {self.vocabulary} symbols, {self.digest}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def shakespeare(cls) -> Chain:
        """The paper's chain: characters of the tiny Shakespeare text (1,115,394 of them, 65 different).

        Only the counts of characters and of pairs of neighbours come with this library, not the text.
        """
        source = resources.files("mechpaint.toy").joinpath("charcounts.json")
        facts = json.loads(source.read_text(encoding="utf-8"))
        return cls.from_counts(facts["chars"], facts["unigram"], facts["bigram"], name="shakespeare")

    @classmethod
    def from_counts(cls, symbols: Sequence[str], unigram: ArrayLike, bigram: ArrayLike, name: str = "counts") -> Chain:
        """A chain with the frequencies that were counted; whole numbers or any other weights.

        Args:
            symbols: What each token stands for.
            unigram: `[vocab]`: how often each token occurs.
            bigram: `[vocab, vocab]`: how often each token (column) follows each token (row).
            name: What the chain is called.

        Raises:
            ToyError: Another shape, counts that are negative or no numbers, or a token that nothing follows.
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
        """The chain of a text's characters, read through Hugging Face `datasets`.

        Args:
            source: As `Text.source`: a file or a data set on the hub, of which the first two million characters. Or
                the rows themselves: a list of strings, the column of a data set. Rows are joined by line breaks.
            name: What the chain is called; by default after the file.

        The symbols are the characters in the order of their code points. If the text's last character occurs nowhere
        else, nothing follows it: then the text is read as a circle, and its first character does.

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
        """A chain in which every token is as likely as any other, whatever came before.

        Args:
            vocabulary: How many tokens there are.

        Raises:
            ToyError: Fewer than 2 tokens.
        """
        return _memoryless(np.ones(_checked_size(vocabulary)), f"uniform({vocabulary})")

    @classmethod
    def zipf(cls, vocabulary: int, exponent: float = 1.0) -> Chain:
        """A chain in which the token of rank r (from 1) has a probability in proportion to r^-exponent.

        It has no memory: every row of `transitions` is `initial`. So tokens occur in sequences exactly as often as
        `initial` says, at every position, which is what makes it useful for asking about rare and frequent triggers.

        Args:
            vocabulary: How many tokens there are.
            exponent: How much rarer later ranks are; 0 makes all tokens alike.

        Raises:
            ToyError: Fewer than 2 tokens, or an exponent that is no number or leaves probabilities of 0.
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
    """The characters of a text, how often each occurs, and each pair of neighbours."""
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
        raise ToyError(f"the symbol {twice[0]!r} stands twice: each token needs its own")
    return tuple(symbols)


def _checked_values(what: str, given: ArrayLike, shape: tuple[int, ...], symbols: tuple[str, ...]) -> np.ndarray:
    """A float64 copy."""
    try:
        values = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ToyError(f"{what} must be an array of numbers of the shape {list(shape)}: {error}") from None
    if values.shape != shape:
        raise ToyError(
            f"{what} has the shape {list(values.shape)}, expected {list(shape)}, as there are {len(symbols)} symbols"
        )
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = " to ".join(_named(symbols, i) for i in at)
        raise ToyError(f"{what} has {values[at]} for {where}: expected a finite number, 0 or more")
    return values


def _refuse_other_sums(what: str, values: np.ndarray, symbols: tuple[str, ...]) -> None:
    sums = np.atleast_1d(values.sum(axis=-1))
    row = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[row] - 1) <= _TOLERANCE:
        return
    if values.ndim == 1:
        raise ToyError(f"{what} sums to {sums[row]:.8g}, expected 1: {_NORMALISE}")
    if sums[row] == 0:
        raise ToyError(f"nothing follows {_named(symbols, row)}: its row of {what} is all 0. Say what may follow it")
    raise ToyError(f"the row of {_named(symbols, row)} in {what} sums to {sums[row]:.8g}, expected 1: {_NORMALISE}")


def _named(symbols: tuple[str, ...], token: int) -> str:
    return f"{symbols[token]!r} (token {token})"
