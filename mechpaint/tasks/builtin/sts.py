"""`sts`: do sentences of similar meaning have similar embeddings? Semantic textual similarity (Cer et al. 2017)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mechpaint.data import MAX_CHARACTERS, read_rows
from mechpaint.errors import TaskError
from mechpaint.models.loading import require_tokenizer
from mechpaint.readers import Row
from mechpaint.scoring.encoding import within_context
from mechpaint.scoring.items import Pair
from mechpaint.tasks.task import RowTask

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.routes.prefix_tree import PrefixTree
    from mechpaint.statistics.metrics import Metric
    from mechpaint.statistics.results import Advance, Record

_GIVEN = ("score", "label", "similarity")


@dataclass(frozen=True)
class Similarity(RowTask[Pair]):
    """Do sentences of similar meaning have similar embeddings? Spearman's correlation of cosines with ratings.

    A sentence's embedding is the mean of the final residual stream over its tokens, special ones included and padding
    not. For BERT that is its last hidden state. An item's score is the cosine of its two embeddings.

    Args:
        source: A file or a data set on the hub, as `read_rows` takes it, with the columns `sentence1`, `sentence2`, and
            `score`, `label` or `similarity`, as in STS-B; of long ones the first two million characters.
    """

    name: ClassVar[str] = "sts"
    measure: ClassVar[str] = "Spearman's correlation with given similarities"
    argument: ClassVar[str] = ":SOURCE"
    source: str

    @classmethod
    def from_argument(cls, argument: str | None) -> Similarity:
        """`sts:SOURCE`."""
        if not argument:
            raise TaskError(
                "the task sts needs pairs of sentences whose similarity was rated: --task sts:FILE, with the columns "
                f"sentence1, sentence2 and {_either(_GIVEN)}, such as STS-B's"
            )
        return cls(argument)

    def fits(self, model: TransformerBridge, item: Pair) -> bool:
        """Whether both texts fit the model's context."""
        return within_context(model, item)

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Pair]:
        """The rows in random order."""
        tokenizer: Any = require_tokenizer(model, "the task sts")
        pairs = list(self._pairs())
        rng.shuffle(pairs)
        for number, first, second, similarity in pairs:
            ids: list[list[int]] = tokenizer([first, second], verbose=False)["input_ids"]
            yield Pair(f"row {number}", tuple(ids[0]), tuple(ids[1]), similarity)

    def _pairs(self) -> Iterator[tuple[int, str, str, float]]:
        length = 0
        for number, row in enumerate(read_rows(self.source), start=1):
            first, second, similarity = self._pair(number, row)
            yield number, first, second, similarity
            length += len(first) + len(second)
            if length > MAX_CHARACTERS:
                return

    def _pair(self, number: int, row: Row) -> tuple[str, str, float]:
        given = next((row[name] for name in _GIVEN if name in row), None)
        first, second = row.get("sentence1"), row.get("sentence2")
        if not isinstance(first, str) or not isinstance(second, str) or not isinstance(given, int | float):
            raise TaskError(
                f"row {number} of {self.source!r} has the columns {', '.join(row)}: expected texts in sentence1 and "
                f"sentence2, and a number in {_either(_GIVEN)}"
            )
        return first, second, float(given)

    def records(
        self, model: TransformerBridge, items: Sequence[Pair], tree: PrefixTree, batch_size: int, advance: Advance
    ) -> Iterator[Record]:
        """Sweep for final residual streams, and compare their means."""
        from mechpaint.scoring.embeddings import score_pairs

        return score_pairs(model, str(self), items, tree, batch_size, advance)

    def metric(self, items: Sequence[Pair]) -> Metric:
        """Spearman's correlation with the rated similarities."""
        from mechpaint.statistics.metrics import Spearman

        return Spearman({item.name: item.similarity for item in items})

    def chance(self, model: TransformerBridge, items: Sequence[Pair]) -> float:
        """0: no correlation."""
        return 0.0

    def __str__(self) -> str:
        return f"{self.name}:{self.source}"


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
