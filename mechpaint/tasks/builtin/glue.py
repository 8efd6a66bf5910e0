"""`glue`: a classification head fine-tuned along each route, as in "Layers as Painters"."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from mechpaint.errors import TaskError
from mechpaint.finetuning.settings import FineTuning
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.scoring.items import record
from mechpaint.tasks.task import Part, Task

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.finetuning.benchmarks import Example, Labelled
    from mechpaint.planning.accelerators import Roofline
    from mechpaint.planning.cost import Cost
    from mechpaint.statistics.metrics import Metric
    from mechpaint.statistics.results import Advance, Record

_ROUTES_PER_PART = 8


@dataclass(frozen=True)
class Glue(Task["Example"]):
    """What can the model learn to classify along a route? GLUE's tasks, or data of one's own.

    GLUE is arXiv 1804.07461; each of its tasks is scored by its own metric. Every route is trained from the same
    weights. Items are the validation examples; an item's score is the class, or the value, that the trained model
    predicts.

    Args:
        benchmark: One of GLUE's tasks, such as `"rte"`; empty for data of one's own.
        train: A file, or a data set on the hub; None for GLUE's own on the hub.
        validation: The same to validate on. By default a data set's own validation split, or a part of the file.
        held_out: The share of a file that becomes the validation set if the file is split.
        split: The seed of that split.
        training: The settings of training.
    """

    name: ClassVar[str] = "glue"
    measure: ClassVar[str] = "the benchmark's own metric"
    argument: ClassVar[str] = ":BENCHMARK[,name=value,…]"
    benchmark: str = ""
    train: str | None = None
    validation: str | None = None
    held_out: float = 0.25
    split: int = 0
    training: FineTuning = field(default_factory=FineTuning)

    @cached_property
    def data(self) -> Labelled:
        """The examples, read once; TrainingError if they cannot be read or are not as described."""
        from mechpaint.finetuning.datasets import labelled

        return labelled(self.benchmark, self.train, self.validation, self.held_out, self.split)

    @classmethod
    def from_argument(cls, argument: str | None) -> Glue:
        """Parse a benchmark, then settings: `glue:rte`, `glue:rte,train=FILE,validation=FILE,learns=head,epochs=3`.

        The settings are the fields of this class and of `FineTuning`.
        """
        own: dict[str, Any] = {}
        training: dict[str, Any] = {}
        for place, part in enumerate((argument or "").split(",")):
            key, equals, value = part.partition("=")
            if not equals and place == 0:
                own["benchmark"] = part.strip()
            elif equals and key.strip() in _OWN:
                own[key.strip()] = _value(key.strip(), value.strip(), _OWN)
            elif equals and key.strip() in _TRAINING:
                training[key.strip()] = _value(key.strip(), value.strip(), _TRAINING)
            else:
                raise TaskError(
                    f"cannot read {part!r} in the task 'glue:{argument}': expected a benchmark, then settings with "
                    f"commas between them, name=value; the names are {', '.join((*_OWN, *_TRAINING))}"
                )
        return cls(**own, training=FineTuning(**training))

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Example]:
        """The validation examples, in random order."""
        yield from rng.sample(self.data.validation, len(self.data.validation))

    def check(self, model: TransformerBridge) -> None:
        """Refuse models that cannot get a head, or that have no tokenizer."""
        from mechpaint.finetuning.model_copies import require_classifier

        require_classifier(model)

    def measured(self) -> str:
        """The benchmark's usual metric."""
        return self.data.benchmark.metrics[0]

    def metric(self, items: Sequence[Example]) -> Metric:
        """The benchmark's metric."""
        return self.data.benchmark.metric(items)

    def chance(self, model: TransformerBridge, items: Sequence[Example]) -> float:
        """The score of always giving the most frequent class of the training set; 0 for correlations."""
        import numpy as np

        most = Counter(example.label for example in self.data.train).most_common(1)[0][0]
        return float(self.metric(items)([item.name for item in items], np.full((len(items), 1), most))[0])

    def parts(self, items: Sequence[Example], tree: PrefixTree) -> list[Part[Example]]:
        """All items along one route, or, with a frozen body, along several, which share their work."""
        size = _ROUTES_PER_PART if self.training.learns == "head" else 1
        groups = [tree.routes[i : i + size] for i in range(0, len(tree.routes), size)]
        return [
            Part(f"routes-{i:04d}", f"fine-tuning along {', '.join(map(str, group))}", tuple(items), PrefixTree(group))
            for i, group in enumerate(groups)
        ]

    def records(
        self, model: TransformerBridge, items: Sequence[Example], tree: PrefixTree, batch_size: int, advance: Advance
    ) -> Iterator[Record]:
        """Train along each route, then predict."""
        from mechpaint.finetuning.classification import finetune_routes

        data = dataclasses.replace(self.data, validation=tuple(items))
        trained = self.training.passes * len(data.train) * len(tree.routes)
        tick = _in_proportion(advance, trained, len(items) * len(tree.routes))
        for tuned in finetune_routes(model, data, tree.routes, self.training, tick):
            for item, predicted in zip(items, tuned.predicted, strict=True):
                yield record(self, item.name, tuned.route, predicted, math.isfinite(predicted))

    def cost(
        self, model: TransformerBridge, parts: Sequence[Part[Example]], batch_size: int, on: Roofline | None = None
    ) -> Cost:
        """The cost of an update, timed once and scaled up."""
        from mechpaint.finetuning.cost import of_training
        from mechpaint.planning.accelerators import require_here

        require_here(self, on)
        data = dataclasses.replace(self.data, validation=parts[0].items)
        return of_training(model, data, [part.tree for part in parts], self.training)

    def settings(self) -> dict[str, object]:
        """Its fields, and a digest of the training examples, since a file may change."""
        digest = hashlib.sha256(repr(self.data.train).encode()).hexdigest()[:16]
        return {**super().settings(), "examples": digest}

    def __str__(self) -> str:
        name = self.benchmark or str(self.train)
        return f"{self.name}:{name}" + (" (frozen body)" if self.training.learns == "head" else "")


_OWN: dict[str, type] = {"train": str, "validation": str, "held_out": float, "split": int}
_TRAINING: dict[str, type] = {
    "learns": str,
    "epochs": int,
    "batch": int,
    "lr": float,
    "warmup": float,
    "weight_decay": float,
    "max_length": int,
    "seed": int,
}


def _value(key: str, value: str, kinds: dict[str, type]) -> Any:
    try:
        return kinds[key](value)
    except ValueError:
        raise TaskError(f"{key} of the task glue is a {kinds[key].__name__}, got {value!r}") from None


def _in_proportion(advance: Advance, work: int, ticks: int) -> Callable[[int], None]:
    """A callback for work that advances by `ticks` in total, in proportion to the work done."""
    done = 0

    def tick(more: int) -> None:
        nonlocal done
        before, done = done, done + more
        advance(ticks * done // work - ticks * before // work)

    return tick
