"""`mlm`: which tokens are masked? Masked language modelling, as BERT was trained (Devlin et al. 2018, §3.1)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from mechpaint.data import english_paragraphs, read_texts, split_column
from mechpaint.errors import TaskError
from mechpaint.models.loading import require_tokenizer
from mechpaint.scoring.encoding import encoding, within_context
from mechpaint.scoring.items import Outcome, Place
from mechpaint.tasks.compatibility import require_masked
from mechpaint.tasks.task import PlaceTask, Selection

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.statistics.metrics import Metric

_MIN_KNOWN = 0.9
_MIN_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Masked:
    """A text with some of its tokens masked.

    Args:
        name: Its name in the results; unique within its task.
        tokens: Token ids, special tokens included, with the mask at each of `positions`.
        positions: The masked positions, at least one.
        targets: The tokens that stood there.
    """

    name: str
    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.positions or len(self.positions) != len(self.targets):
            raise TaskError(
                f"item {self.name!r} has {len(self.positions)} masked positions and {len(self.targets)} targets: "
                "expected as many, and one or more"
            )

    @property
    def answer(self) -> int:
        """0: it has one answer."""
        return 0

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The tokens."""
        return (self.tokens,)

    def places(self) -> tuple[tuple[Place, ...], ...]:
        """The masked positions."""
        return (tuple(Place(0, at, token) for at, token in zip(self.positions, self.targets, strict=True)),)


@dataclass(frozen=True)
class MaskedTokens(PlaceTask[Masked]):
    """Which tokens are masked? The share that is the first guess of an encoder with a masked-language-model head.

    Each row of the source is an item; rows of fewer than four tokens, and those that exceed the model's context, are
    left out and counted. A mask stands at every chosen place, and all of an item's places are predicted at once.
    Special and unknown tokens are never chosen.

    Args:
        source: A file (of a text each line is a row) or a data set on the hub, as `read_rows` takes it; of long ones
            the first two million characters. By default the paragraphs of the English reference text that comes with
            Python (`pydoc_data.topics`).
        column: The column with the text; by default `text`, or the first one with strings. On the command line
            `mlm:SOURCE#COLUMN`.
        share: The share of an item's tokens that is masked, at least one token.
    """

    name: ClassVar[str] = "mlm"
    measure: ClassVar[str] = "accuracy per masked token"
    argument: ClassVar[str] = "[:SOURCE[#COLUMN]]"
    source: str | None = None
    column: str | None = None
    share: float = 0.15

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise TaskError(f"mlm masks a share of the tokens between 0 and 1, got {self.share}")

    @classmethod
    def from_argument(cls, argument: str | None) -> MaskedTokens:
        """`mlm:SOURCE` or `mlm:SOURCE#COLUMN`."""
        return cls(*split_column(argument))

    def check(self, model: TransformerBridge) -> None:
        """Refuse models that do not predict masked tokens."""
        require_tokenizer(model, "the task mlm")
        require_masked(model, "the task mlm")

    def fits(self, model: TransformerBridge, item: Masked) -> bool:
        """Whether it fits the model's context."""
        return within_context(model, item)

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Masked]:
        """The rows in random order, masked at random."""
        tokenizer: Any = require_tokenizer(model, "the task mlm")
        return _masked(self._tokenized(tokenizer), tokenizer, self.share, rng)

    def select(self, model: TransformerBridge, limit: int | None = None, seed: int = 0) -> Selection[Masked]:
        """As for other tasks; it also names all rows of fewer than four tokens."""
        self._check_asked(model, limit)
        tokenizer: Any = require_tokenizer(model, "the task mlm")
        with encoding(f"the task {self}"):
            rows = self._tokenized(tokenizer)
        selection = self._select(model, _masked(rows, tokenizer, self.share, self._rng(seed)), limit)
        special = set(tokenizer.all_special_ids)
        short = (name for name, tokens in rows if len(_ordinary(tokens, special)) < _MIN_TOKENS)
        return replace(selection, too_short=tuple(short))

    def _tokenized(self, tokenizer: Any) -> list[tuple[str, list[int]]]:
        """Tokenize the rows, and refuse text that the tokenizer mostly does not know."""
        texts = self._texts()
        if not texts:
            return []
        encoded = tokenizer(texts, verbose=False, return_offsets_mapping=tokenizer.is_fast)
        known = _known(encoded, tokenizer.unk_token_id, texts) if tokenizer.is_fast else 1.0
        if known < _MIN_KNOWN:
            raise TaskError(
                f"the tokenizer of this model knows {known:.0%} of the characters of {self}: expected text of the kind "
                "that it was trained on, --task mlm:FILE"
            )
        return [(f"row {number}", ids) for number, ids in enumerate(encoded["input_ids"], start=1)]

    def _texts(self) -> list[str]:
        return english_paragraphs() if self.source is None else list(read_texts(self.source, self.column))

    def score(self, item: Masked, outcome: Outcome) -> float:
        """The share of the masked tokens that were the model's first guess."""
        return sum(outcome.greedy[0]) / len(outcome.greedy[0])

    def metric(self, items: Sequence[Masked]) -> Metric:
        """The mean over tokens, since items have different numbers of them."""
        from mechpaint.statistics.metrics import WeightedMean

        return WeightedMean({item.name: float(len(item.targets)) for item in items})

    def chance(self, model: TransformerBridge, items: Sequence[Masked]) -> float:
        """The score of always naming the most frequent of the masked tokens."""
        counts = Counter(token for item in items for token in item.targets)
        return counts.most_common(1)[0][1] / counts.total()

    def __str__(self) -> str:
        source = self.name if self.source is None else f"{self.name}:{self.source}"
        return source if self.column is None else f"{source}#{self.column}"


def _masked(
    rows: Sequence[tuple[str, list[int]]], tokenizer: Any, share: float, rng: random.Random
) -> Iterator[Masked]:
    """Mask a share of each row that is long enough, in random order."""
    special = set(tokenizer.all_special_ids)
    shuffled = list(rows)
    rng.shuffle(shuffled)
    for name, tokens in shuffled:
        ordinary = _ordinary(tokens, special)
        if len(ordinary) < _MIN_TOKENS:
            continue
        chosen = sorted(rng.sample(ordinary, max(1, round(share * len(ordinary)))))
        masked = list(tokens)
        for position in chosen:
            masked[position] = int(tokenizer.mask_token_id)
        yield Masked(name, tuple(masked), tuple(chosen), tuple(tokens[i] for i in chosen))


def _ordinary(tokens: list[int], special: set[int]) -> list[int]:
    """The positions without a special token."""
    return [i for i, token in enumerate(tokens) if token not in special]


def _known(encoded: Any, unknown: int | None, texts: list[str]) -> float:
    """The share of the characters, blanks aside, that are in known tokens; tokenizers may also leave some out."""
    known = sum(
        end - start  # 0 for a special token that was added
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        for token, (start, end) in zip(ids, offsets, strict=True)
        if token != unknown
    )
    return known / max(1, sum(not character.isspace() for text in texts for character in text))
