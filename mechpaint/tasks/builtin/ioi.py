"""`ioi`: who received it? Indirect-object identification (Wang et al. 2022, arXiv 2211.00593)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.scoring.encoding import encode
from mechpaint.scoring.items import Item
from mechpaint.tasks.task import ChoiceTask

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_NAMES = (
    "Mary John Alice Tom Anna Peter Laura Mark Sarah Paul Emma David Julia Daniel Lucy James Kate Robert Helen Simon "
    "Rachel Kevin Maria Andrew Linda George Susan Brian Nancy Frank"
).split()
_PLACES = ("store", "school", "park", "station", "market", "library", "office", "garden", "restaurant", "museum")
_THINGS = ("book", "ring", "letter", "ball", "drink", "flower", "ticket", "key", "picture", "basket")
_TEMPLATES = (
    "When {a} and {b} went to the {place}, {s} gave a {thing} to",
    "Then, {a} and {b} had a long talk at the {place}. Afterwards {s} gave a {thing} to",
    "While {a} and {b} were at the {place}, {s} handed a {thing} to",
    "After {a} and {b} left the {place}, {s} offered a {thing} to",
    "{a} and {b} met at the {place}. Before leaving, {s} passed a {thing} to",
)


@dataclass(frozen=True)
class IndirectObject(ChoiceTask):
    """Two people are named, and one gives something to … the other. Chance is 1/2.

    Args:
        count: The number of items.
    """

    name: ClassVar[str] = "ioi"
    count: int = 500

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Random names, places and things; the giver is named first in half of them."""
        for i in range(self.count):
            a, b = rng.sample(_NAMES, 2)
            giver, receiver = (a, b) if rng.random() < 0.5 else (b, a)
            sentence = rng.choice(_TEMPLATES).format(
                a=a, b=b, s=giver, place=rng.choice(_PLACES), thing=rng.choice(_THINGS)
            )
            names = [giver, receiver]
            rng.shuffle(names)
            prompt, choices = encode(model, "the task ioi", sentence, [f" {name}" for name in names])
            yield Item(f"{i} {giver} to {receiver}", prompt, choices, names.index(receiver))
