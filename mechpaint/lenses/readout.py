"""What a lens reads: the next token, as each stage of the residual stream would have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.display.summary import Summarized, Summary
from mechpaint.display.svg import Diagram
from mechpaint.errors import DrawingError
from mechpaint.lenses.grid import MOST_CELLS, Cell, grid
from mechpaint.routes.route import Route

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LensReadout(Summarized):
    """The next token by stage and position: stage 0 is before the first step of a route, stage i after i steps.

    It draws itself in notebooks; `table()` has everything as a data frame.

    Attributes:
        lens: Which lens read, `"logit lens"`.
        route: The route that ran.
        stages: A name for each stage: `"embedding"`, then what ran last, `"5"`, `"5#2"` (layer 5 for the second time)
            or `"(4-13)"`.
        positions: The positions that were read, from 0.
        tokens: The text's token at each of them.
        top: `[stage, position, k]`: the most likely tokens, the likeliest first.
        probabilities: `[stage, position, k]`: their probabilities.
        entropy: `[stage, position]`: entropy of the prediction, in nats.
        kl: `[stage, position]`: Kullback-Leibler divergence of the prediction from the last stage's, KL(last ‖ stage),
            in nats.
        texts: The text of each token among `top`, and of the answer.
        answer: The token that was asked about; None if none was.
        answer_rank: `[stage, position]`: its rank, 1 if no other token is likelier.
        answer_probability: `[stage, position]`: its probability.
        logits: `[stage, position, vocab]`; None unless they were asked for.
    """

    lens: str
    route: Route
    stages: tuple[str, ...]
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    top: Int[Tensor, "stage position k"]
    probabilities: Float[Tensor, "stage position k"]
    entropy: Float[Tensor, "stage position"]
    kl: Float[Tensor, "stage position"]
    texts: Mapping[int, str] = field(repr=False)
    answer: int | None = None
    answer_rank: Int[Tensor, "stage position"] | None = None
    answer_probability: Float[Tensor, "stage position"] | None = None
    logits: Float[Tensor, "stage position vocab"] | None = field(default=None, repr=False)

    def table(self) -> pd.DataFrame:
        """A row for each stage and position: names, the likeliest token, its probability, entropy, KL, the answer's."""
        import pandas as pd

        rows = [self._row(s, p) for s in range(len(self.stages)) for p in range(len(self.positions))]
        return pd.DataFrame(rows)

    def _row(self, stage: int, place: int) -> dict[str, Any]:
        row: dict[str, Any] = {
            "steps": stage,
            "stage": self.stages[stage],
            "position": self.positions[place],
            "token": self.tokens[place],
            "top": self.texts[int(self.top[stage, place, 0])],
            "probability": float(self.probabilities[stage, place, 0]),
            "entropy": float(self.entropy[stage, place]),
            "kl": float(self.kl[stage, place]),
        }
        if self.answer_rank is not None and self.answer_probability is not None:
            row["answer rank"] = int(self.answer_rank[stage, place])
            row["answer probability"] = float(self.answer_probability[stage, place])
        return row

    @property
    def diagram(self) -> Diagram:
        """A heatmap of stages by positions: the likeliest token of each, darker the likelier; the answer is framed.

        Raises:
            DrawingError: More cells than can be read.
        """
        if self._cells > MOST_CELLS:
            raise DrawingError(
                f"cannot draw {len(self.stages)} stages of {len(self.positions)} positions, {self._cells:,} cells: "
                f"expected at most {MOST_CELLS:,}. Read fewer positions, positions=[-1]"
            )
        cells = [[self._cell(s, p) for p in range(len(self.positions))] for s in range(len(self.stages))]
        heads = [f"{position}: {token}" for position, token in zip(self.positions, self.tokens, strict=True)]
        alt = (
            f"The likeliest next token by the {self.lens}, at {len(self.stages)} stages of the route {self.route} and "
            f"{len(self.positions)} positions. At the last position: {self._story()}."
        )
        return grid(self.stages, self.tokens, cells, alt, heads)

    @property
    def _cells(self) -> int:
        return len(self.stages) * len(self.positions)

    def _cell(self, stage: int, place: int) -> Cell:
        best = self._best(stage, place)
        tooltip = "\n".join(f"{text!r} {chance:.3f}" for text, chance in best)
        return Cell(*best[0], tooltip, int(self.top[stage, place, 0]) == self.answer)

    def _story(self) -> str:
        """The likeliest tokens at the last position, stage after stage, each named where it begins."""
        changes: list[str] = []
        last = None
        for stage, name in enumerate(self.stages):
            token = int(self.top[stage, -1, 0])
            if token != last:
                changes.append(f"{self.texts[token]!r} from {name}")
            last = token
        return ", ".join(changes[:12]) + ", …" * (len(changes) > 12)

    def _summary(self) -> Summary:
        facts = [("route", str(self.route)), ("read", f"{len(self.stages)} stages, {len(self.positions)} positions")]
        if self.answer is not None:
            facts.append(("answer", repr(self.texts[self.answer])))
        columns = ["stage", f"likeliest at position {self.positions[-1]}", "entropy (nats)"]
        rows = [[name, self._likeliest(s), f"{float(self.entropy[s, -1]):.2f}"] for s, name in enumerate(self.stages)]
        if self.answer_rank is not None and self.answer_probability is not None:
            columns.append("answer: rank, probability")
            for s, row in enumerate(rows):
                row.append(f"{int(self.answer_rank[s, -1]):,}, {float(self.answer_probability[s, -1]):.3f}")
        picture = self.diagram if self._cells <= MOST_CELLS else None
        return Summary(self.lens.capitalize(), facts, columns, rows, picture)

    def _likeliest(self, stage: int) -> str:
        return " ".join(f"{text!r} {chance:.2f}" for text, chance in self._best(stage, -1))

    def _best(self, stage: int, place: int) -> list[tuple[str, float]]:
        """The most likely tokens with their probabilities."""
        ids = cast("list[int]", self.top[stage, place].tolist())
        chances = cast("list[float]", self.probabilities[stage, place].tolist())
        return [(self.texts[token], chance) for token, chance in zip(ids, chances, strict=True)]

    def __repr__(self) -> str:
        return f"LensReadout({self.lens}, {len(self.stages)} stages, {len(self.positions)} positions)"
