"""What patching found: an effect for each place, as numbers, a table and a figure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from mechpaint.display.figures import axes, diverging_heatmap, literal, svg_of
from mechpaint.display.summary import Summarized, Summary
from mechpaint.display.svg import Diagram
from mechpaint.errors import InputError
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Patched(Summarized):
    """The metric with each activation patched, from the corrupted run towards the clean one.

    Args:
        values: `[visit]`, `[visit, position]`, `[visit, head]` or `[visit, head, position]`: the metric of the
            corrupted prompt with that activation of the clean one; for attribution patching, its first-order estimate.
        route: The route that ran.
        visits: The visits along the first axis.
        axes: The names of the axes, such as `("visit", "head")`.
        labels: The names along each further axis: tokens, or heads.
        clean: The metric of the clean prompt.
        corrupted: The metric of the corrupted prompt.
        what: What was patched, in words.
    """

    values: Float[Tensor, "visit *rest"]
    route: Route
    visits: tuple[Visit, ...]
    axes: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    clean: float
    corrupted: float
    what: str

    @property
    def normalised(self) -> Float[Tensor, "visit *rest"]:
        """The values on a scale where the corrupted run is 0 and the clean one 1.

        Raises:
            InputError: Both runs have the same metric, so that there is nothing to restore.
        """
        if self.clean == self.corrupted:
            raise InputError(
                f"the clean and the corrupted run both have {self.clean:g}: expected a metric that differs"
            )
        return (self.values - self.corrupted) / (self.clean - self.corrupted)

    def rows(self) -> list[dict[str, Any]]:
        """For each place: step, layer, head and position where there are any, value and normalised value."""
        scaled = self.normalised
        rows: list[dict[str, Any]] = []
        for place in itertools.product(*(range(n) for n in self.values.shape)):
            visit = self.visits[place[0]]
            where = dict(zip(self.axes[1:], place[1:], strict=True))
            value = {"value": float(self.values[place]), "normalised": float(scaled[place])}
            rows.append({"step": visit.step, "layer": visit.layer, **where, **value})
        return rows

    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def figure(self) -> Diagram:
        """A heatmap of the normalised values, visits downwards; of heads by positions, each head's strongest."""
        scaled = self.normalised.detach().cpu().float()
        if scaled.ndim == 1:
            scaled = scaled[:, None]
        if scaled.ndim == 3:
            strongest = scaled.abs().argmax(-1, keepdim=True)
            scaled = scaled.gather(-1, strongest)[..., 0]
        columns = self.labels[0] if self.labels else (self.what,)
        drawing, [ax] = axes(max(4.2, 0.42 * len(columns) + 2.2), height=max(2.4, 0.2 * len(self.visits) + 1.2))
        diverging_heatmap(drawing, ax, scaled.numpy(), visit_names(self.visits), [literal(c) for c in columns])
        ax.set_xlabel(self.axes[1] if len(self.axes) > 1 else "")
        ax.set_ylabel("layer" if _each_once(self.visits) else "layer @ step")
        drawing.suptitle(f"{self.what}: 0 corrupted, 1 clean", fontsize=9)
        svg = svg_of(drawing, "patched").decode()
        return Diagram(svg[svg.index("<svg") :], f"Heatmap of {self.what} on the route {self.route}.")

    def _summary(self) -> Summary:
        facts = [("patched", self.what), ("route", str(self.route))]
        facts += [("metric", f"clean {self.clean:.3f}, corrupted {self.corrupted:.3f}")]
        strongest = (
            sorted(self.rows(), key=lambda row: -abs(row["normalised"]))[:8] if self.clean != self.corrupted else []
        )
        rows = [tuple(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) for row in strongest]
        picture = self.figure() if self.clean != self.corrupted else None
        return Summary("Patched", facts, ("step", "layer", *self.axes[1:], "value", "normalised"), rows, picture)


def visit_names(visits: Sequence[Visit]) -> list[str]:
    """How figures call visits: by layer, with the step where a layer runs twice."""
    return [str(v.layer) if _each_once(visits) else f"{v.layer} @ {v.step}" for v in visits]


def _each_once(visits: Sequence[Visit]) -> bool:
    return len({visit.layer for visit in visits}) == len(visits)


@dataclass(frozen=True, eq=False)
class PatchedPaths(Summarized):
    """To first order, what each direct path between two components carries of the difference between two prompts.

    Args:
        values: `[sender, receiver]`: the estimated change of the metric if what the sender writes, as the receiver
            reads it, were the clean prompt's. NaN where the receiver does not come after the sender.
        route: The route that ran.
        senders: What writes, such as `"5@5 head 2"`.
        receivers: What reads, such as `"9@9 attention"`, and `"logits"`.
        clean: The metric of the clean prompt.
        corrupted: The metric of the corrupted prompt.
    """

    values: Float[Tensor, "sender receiver"]
    route: Route
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    clean: float
    corrupted: float

    def paths(self) -> list[tuple[str, str, float]]:
        """Sender, receiver and value of each path; the largest first."""
        each = [
            (sender, receiver, float(self.values[i, j]))
            for i, sender in enumerate(self.senders)
            for j, receiver in enumerate(self.receivers)
            if not self.values[i, j].isnan()
        ]
        return sorted(each, key=lambda path: -abs(path[2]))

    def table(self) -> pd.DataFrame:
        """One row for each path: sender, receiver and value; the largest first."""
        import pandas as pd

        return pd.DataFrame(self.paths(), columns=["sender", "receiver", "value"])

    def _summary(self) -> Summary:
        facts = [("route", str(self.route)), ("metric", f"clean {self.clean:.3f}, corrupted {self.corrupted:.3f}")]
        rows = [(sender, receiver, f"{value:.4f}") for sender, receiver, value in self.paths()[:12]]
        return Summary("Paths", facts, ("sender", "receiver", "value"), rows)
