"""What visits write in the direction of an answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mechpaint.display.summary import Summarized, Summary
from mechpaint.display.svg import Diagram
from mechpaint.errors import DrawingError
from mechpaint.lenses.grid import MOST_CELLS, Cell, grid
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit

if TYPE_CHECKING:
    import pandas as pd

_MOST_LISTED = 10


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one component adds to a logit, or to the difference of two.

    Attributes:
        part: `"embedding"`, `"attention"`, `"head"`, `"attention bias"`, `"mlp"`, `"layer"`, or `"bias"`, that of the
            final norm and of the unembedding.
        value: How much it adds.
        visit: The visit; None for the embedding and the bias.
        head: The head; None for other parts.
    """

    part: str
    value: float
    visit: Visit | None = None
    head: int | None = None

    @property
    def column(self) -> str:
        """Its column in a picture."""
        return f"head {self.head}" if self.head is not None else self.part


@dataclass(frozen=True)
class Attribution(Summarized):
    """A logit, or the difference of two, as a sum of what visits write; it draws itself in notebooks.

    Attributes:
        route: The route that ran.
        answer: The text of the answer.
        wrong: The text of the other token; None if the answer's logit itself was divided.
        position: The position, from 0.
        contributions: What adds up, in the order of the route.
        logit: The model's own logit, or difference.
    """

    route: Route
    answer: str
    wrong: str | None
    position: int
    contributions: tuple[Contribution, ...]
    logit: float

    @property
    def rounding(self) -> float:
        """What is left of the logit: the rounding of the model's arithmetic."""
        return self.logit - sum(one.value for one in self.contributions)

    def top(self, count: int = 5) -> tuple[Contribution, ...]:
        """The contributions of the largest size.

        Args:
            count: How many.
        """
        return tuple(sorted(self.contributions, key=lambda one: -abs(one.value))[:count])

    def name(self, contribution: Contribution) -> str:
        """A contribution in words: `"mlp of 5#2"`, `"head 3 of 5"`.

        Args:
            contribution: One of these.
        """
        visit = contribution.visit
        return contribution.column if visit is None else f"{contribution.column} of {self._names[visit]}"

    def table(self) -> pd.DataFrame:
        """A row for each contribution: step, layer, visit, part, head and value."""
        import pandas as pd

        rows = [
            {
                "step": None if one.visit is None else one.visit.step,
                "layer": None if one.visit is None else one.visit.layer,
                "visit": None if one.visit is None else self._names[one.visit],
                "part": one.part,
                "head": one.head,
                "value": one.value,
            }
            for one in self.contributions
        ]
        return pd.DataFrame(rows).astype({"step": "Int64", "layer": "Int64", "head": "Int64"})

    @property
    def _names(self) -> dict[Visit, str]:
        """A visit as texts name it: `"5"`, or `"5#2"` where a layer has more than one."""
        visits = tuple(self.route.visits())
        counts, seen = Counter(visit.layer for visit in visits), Counter[int]()
        names: dict[Visit, str] = {}
        for visit in visits:
            seen[visit.layer] += 1
            names[visit] = f"{visit.layer}#{seen[visit.layer]}" if counts[visit.layer] > 1 else str(visit.layer)
        return names

    @property
    def diagram(self) -> Diagram:
        """A heatmap of visits by components: blue towards the answer, orange away from it.

        Raises:
            DrawingError: More cells than can be read.
        """
        visits, columns = list(self._names), self._columns
        if len(visits) * len(columns) > MOST_CELLS:
            raise DrawingError(
                f"cannot draw {len(visits):,} visits of {len(columns)} components: expected at most {MOST_CELLS:,} "
                'cells. Attribute by unit="component" or unit="layer", or read table()'
            )
        most = max((abs(one.value) for one in self.contributions if one.visit), default=0.0) or 1.0
        by_place = {(one.visit, one.column): one for one in self.contributions}
        cells = [[self._cell(by_place.get((v, column)), most) for column in columns] for v in visits]
        strongest = ", ".join(f"{self.name(one)} {one.value:+.2f}" for one in self.top())
        alt = f"What visits add to {self._what} on the route {self.route}: the most, {strongest}."
        return grid([self._names[visit] for visit in visits], columns, cells, alt)

    @property
    def _columns(self) -> list[str]:
        return list(dict.fromkeys(one.column for one in self.contributions if one.visit is not None))

    @property
    def _what(self) -> str:
        return f"the logit of {self.answer!r}" + (f" minus that of {self.wrong!r}" if self.wrong is not None else "")

    def _cell(self, one: Contribution | None, most: float) -> Cell:
        if one is None:
            return Cell(" ", 0.0, "nothing")
        return Cell(f"{one.value:+.2f}", one.value / most, f"{self.name(one)}: {one.value:+.4f}")

    def _summary(self) -> Summary:
        outside = [(one.part, f"{one.value:+.3f}") for one in self.contributions if one.visit is None]
        facts = [
            ("route", str(self.route)),
            (self._what, f"{self.logit:.3f} at position {self.position}"),
            *outside,
            ("not attributed (rounding)", f"{self.rounding:+.1g}"),
        ]
        drawable = len(self._names) * len(self._columns) <= MOST_CELLS
        rows = [(self.name(one), f"{one.value:+.3f}") for one in self.top(_MOST_LISTED)]
        picture = self.diagram if drawable else None
        return Summary("Direct logit attribution", facts, ("the largest", "adds"), rows, picture)

    def __repr__(self) -> str:
        return f"Attribution({self._what}: {self.logit:.3f}, {len(self.contributions)} contributions)"
