"""The findings of `induction`, read from its records."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from mechpaint.analyses.induction.labels import FULL, WITHOUT, measured
from mechpaint.analyses.induction.measures import SCORES
from mechpaint.circuits.heads import HeadScore, head_name
from mechpaint.routes.steps import Visit
from mechpaint.statistics.bootstrap import RESAMPLES, Estimate, estimate, ranked

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.statistics.results import ModelFacts


class Findings:
    """The records of one run: `measures` are the tests of accuracy, `tokens` the sequence that heads are shown on."""

    def __init__(self, table: pd.DataFrame, facts: ModelFacts) -> None:
        self.facts, self.n_layers = facts, facts.n_layers
        self.labels = list(facts.routes)
        kinds: dict[str, Any] = dict(iter(table.groupby("kind", sort=False)))
        self.measures: list[str] = kinds["asked"]["name"].unique().tolist()
        by_sequence = table[table["sequence"] >= 0].sort_values("sequence", kind="stable")
        sums: Any = by_sequence.groupby(["label", "kind", "name"], sort=False)["value"]
        self._sums: dict[tuple[str, str, str], np.ndarray] = {key: values.to_numpy() for key, values in sums}
        heads = _rows(kinds["head"], "name", "layer", "head", "value")
        self._heads = {(name, layer, head): float(value) for name, layer, head, value in heads}
        self.tokens = [str(name) for (name,) in _rows(kinds["token"], "name")]
        self._attention = kinds["attention"]

    def accuracy(self, label: str, name: str) -> Estimate:
        """Accuracy on one of `measures`, with its interval."""
        return self._mean("right", label, name)

    def loss(self, label: str, name: str) -> Estimate:
        """Loss on one of `measures`, in nats."""
        return self._mean("loss", label, name)

    def _mean(self, kind: str, label: str, name: str) -> Estimate:
        """The mean over all questions; sequences are resampled in the same way for every route."""
        sums, asked = self._sums[label, kind, name], self._sums[label, "asked", name]
        drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
        every = np.concatenate([np.ones((1, len(sums))), drawn])
        return estimate((every @ sums) / (every @ asked))

    def head(self, name: str, layer: int, head: int) -> float:
        """A head's score."""
        return self._heads[name, layer, head]

    def heads(self) -> list[tuple[int, int]]:
        """All heads as (layer, head), the best prefix matching first."""
        places = {(layer, head) for _, layer, head in self._heads}
        return sorted(places, key=lambda place: -_or_lowest(self.head("prefix_matching", *place)))

    def scores(self) -> list[HeadScore]:
        """The scores of all heads, at the first visit of each layer."""
        step = {visit.layer: visit.step for visit in reversed([*self.facts.routes[FULL].visits()])}
        return [
            HeadScore(Visit(step[layer], layer), head, **{name: self.head(name, layer, head) for name in SCORES})
            for layer, head in self.heads()
        ]

    def one_after_another(self) -> bool:
        """True if some head can read what another wrote."""
        return len({score.visit.step for score in self.scores()}) > 1

    def head_grid(self, name: str) -> Float[np.ndarray, "layer head"]:
        """One score of every head; NaN if its layer never ran."""
        grid = np.full((self.n_layers, 1 + max(head for _, _, head in self._heads)), np.nan)
        for layer, head in self.heads():
            grid[layer, head] = self.head(name, layer, head)
        return grid

    def best(self, name: str) -> str:
        """The head with the highest score, with the score."""
        layer, head = max(self.heads(), key=lambda place: _or_lowest(self.head(name, *place)))
        return f"{head_name(layer, head)} ({self.head(name, layer, head):.2f})"

    def patterns(self) -> dict[str, Float[np.ndarray, "query key"]]:
        """The attention patterns of the heads shown, by name; views open on the first, the best."""
        n = len(self.tokens)
        patterns: dict[str, Any] = {}
        for layer, head, query, key, value in _rows(self._attention, "layer", "head", "query", "key", "value"):
            patterns.setdefault((layer, head), np.zeros((n, n)))[query, key] = value
        order = sorted(patterns, key=self.heads().index)
        return {head_name(*place): patterns[place] for place in order}

    def looking(self) -> str:
        """Describe how strongly each head shown attends to the previous token and to earlier continuations."""
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
                f"{name} gives {back:.2f} of its attention to the previous token and, where a token recurs, "
                f"{float(np.mean(after)) if after else 0:.2f} to what followed it earlier"
            )
        return "On this sequence " + "; ".join(parts) + "."

    def needing(self) -> str:
        """Describe in a sentence what the full model can copy, and which layer that depends on most."""
        name = self.measures[-1]
        skips = self.by_layer(WITHOUT, name)
        text = f"Accuracy is {self.accuracy(FULL, name)} on {measured(name)}"
        if order := ranked(skips):
            text += f"; it drops most without layer {order[0]}, to {skips[order[0]]}"
        return text + "."

    def by_layer(self, kind: str, name: str) -> dict[int, Estimate]:
        """The accuracy with each layer skipped (`kind` is `WITHOUT`) or run twice (`TWICE`)."""
        labels = {x: kind.format(x) for x in range(self.n_layers)}
        return {x: self.accuracy(label, name) for x, label in labels.items() if label in self.labels}


def _rows(table: Any, *columns: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[column].tolist() for column in columns), strict=True))


def _or_lowest(score: float) -> float:
    """A score to sort by: what is no number is never the best."""
    return -math.inf if math.isnan(score) else score
