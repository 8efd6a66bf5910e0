"""What was found, read out of the table of records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from mechpaint.analyses.induction.labels import FULL, TWICE, WITHOUT
from mechpaint.analyses.induction.measures import SCORES
from mechpaint.headscores import HeadScore, head_name
from mechpaint.route import Visit

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analysis import ModelFacts


class Findings:
    """The records of one run, by what they are.

    Args:
        table: The records: `label`, `kind`, `name`, `layer`, `head`, `query`, `key`, `value`.
        facts: The model.

    Attributes:
        labels: The hook sets, the full model first.
        measures: What accuracies there are.
        tokens: The sequence that the best heads were looked at on.
    """

    def __init__(self, table: pd.DataFrame, facts: ModelFacts) -> None:
        self.facts, self.n_layers = facts, facts.n_layers
        self.labels = list(facts.routes)
        kinds: dict[str, Any] = dict(iter(table.groupby("kind", sort=False)))
        self._scores = {(label, name): float(v) for label, name, v in _rows(kinds["score"], "label", "name", "value")}
        self.measures = [n for n in dict.fromkeys(name for _, name in self._scores) if n.startswith("accuracy")]
        heads = _rows(kinds["head"], "name", "layer", "head", "value")
        self._heads = {(name, layer, head): float(value) for name, layer, head, value in heads}
        self.tokens = [str(name) for (name,) in _rows(kinds["token"], "name")]
        self._attention = kinds["attention"]

    def score(self, label: str, name: str) -> float:
        """A route's score."""
        return self._scores[label, name]

    def head(self, name: str, layer: int, head: int) -> float:
        """A head's score."""
        return self._heads[name, layer, head]

    def heads(self) -> list[tuple[int, int]]:
        """All heads as layer and number, those that match prefixes best first."""
        found = {(layer, head) for _, layer, head in self._heads}
        return sorted(found, key=lambda place: -self.head("prefix_matching", *place))

    def scores(self) -> list[HeadScore]:
        """The scores of all heads, each at its layer's first visit."""
        step = {visit.layer: visit.step for visit in reversed([*self.facts.routes[FULL].visits()])}
        return [
            HeadScore(Visit(step[layer], layer), head, **{name: self.head(name, layer, head) for name in SCORES})
            for layer, head in self.heads()
        ]

    def one_after_another(self) -> bool:
        """Whether any head can read what another one wrote."""
        return len({score.visit.step for score in self.scores()}) > 1

    def head_grid(self, name: str) -> Float[np.ndarray, "layer head"]:
        """One score of every head; NaN where a layer never ran."""
        grid = np.full((self.n_layers, 1 + max(head for _, _, head in self._heads)), np.nan)
        for layer, head in self.heads():
            grid[layer, head] = self.head(name, layer, head)
        return grid

    def best(self, name: str) -> str:
        """The head with the highest score, and the score."""
        layer, head = max(self.heads(), key=lambda place: self.head(name, *place))
        return f"{head_name(layer, head)} ({self.head(name, layer, head):.2f})"

    def patterns(self) -> dict[str, Float[np.ndarray, "query key"]]:
        """The attention of the heads that were looked at, by their names."""
        n = len(self.tokens)
        found: dict[str, Any] = {}
        for layer, head, query, key, value in _rows(self._attention, "layer", "head", "query", "key", "value"):
            found.setdefault(head_name(layer, head), np.zeros((n, n)))[query, key] = value
        return found

    def looking(self) -> str:
        """In words, how strongly each head looked at attends one back, and to what followed the same token before."""
        parts: list[str] = []
        for name, pattern in self.patterns().items():
            n = len(pattern)
            back = float(np.mean([pattern[t, t - 1] for t in range(1, n)]))
            after = [
                sum(pattern[t, s] for s in range(1, t + 1) if self.tokens[s - 1] == self.tokens[t])
                for t in range(n)
                if self.tokens[t] in self.tokens[:t]
            ]
            parts.append(
                f"{name} gives {back:.2f} of its attention to the token before and, where a token comes again, "
                f"{float(np.mean(after)) if after else 0:.2f} to what came after it before"
            )
        return "On this sequence " + "; ".join(parts) + "."

    def needing(self) -> str:
        """In words, which layers the skill needs."""
        name = self.measures[-1]
        text = f"The whole model's accuracy on {skill(name)} is {self.score(FULL, name):.3f}."
        skips, twice = self.by_layer(WITHOUT, name), self.by_layer(TWICE, name)
        if skips:
            order = sorted(skips, key=lambda x: skips[x])
            left = "; ".join(f"without layer {x}, {skips[x]:.3f} is left" for x in order[:2])
            text += f" It needs layer {order[0]} most: {left}."
        if twice:
            order = sorted(twice, key=lambda x: -twice[x])
            ends = dict.fromkeys((order[0], order[-1]))
            text += " Run twice, " + " and ".join(f"layer {x} leaves {twice[x]:.3f}" for x in ends) + "."
        return text

    def most_needed(self) -> str | None:
        """The layer without which the least of the skill is left, and how much; None where none was left out."""
        skips = self.by_layer(WITHOUT, self.measures[-1])
        if not skips:
            return None
        layer = min(skips, key=lambda x: skips[x])
        return f"layer {layer} ({skips[layer]:.2f} without it)"

    def by_layer(self, kind: str, name: str) -> dict[int, float]:
        """A score for each layer that something was done to; `kind` is one of `WITHOUT` and `TWICE`."""
        labels = {x: kind.format(x) for x in range(self.n_layers)}
        return {x: self.score(label, name) for x, label in labels.items() if label in self.labels}


def skill(measure: str) -> str:
    """What a measure is the accuracy on."""
    return measure.removeprefix("accuracy, ")


def _rows(table: Any, *columns: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[column].tolist() for column in columns), strict=True))
