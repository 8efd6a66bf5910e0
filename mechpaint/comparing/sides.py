"""The runs of a comparison, each with a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mechpaint.analysis import Analysis
from mechpaint.report import Table
from mechpaint.runs.reporting import Kept, kept, known

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.plugins import Registry

_NAMED = 10


@dataclass(frozen=True)
class Side:
    """A run of a comparison.

    Attributes:
        name: What it is called on the page.
        run: What is on disk.
        table: Its records.
    """

    name: str
    run: Kept
    table: pd.DataFrame

    @property
    def analysis(self) -> Analysis:
        """What was run."""
        return self.run.account.analysis

    @property
    def run_name(self) -> str:
        """Its folder's name, after its analysis's."""
        return f"{self.run.folder.resolve().parent.name}/{self.run.folder.resolve().name}"


@dataclass(frozen=True)
class Apart:
    """What only some runs of a comparison have.

    Args:
        what: Such as `"hook sets"`.
        only: Which run has it.
        names: What it is.
    """

    what: str
    only: str
    names: Sequence[str]


def sides_of(runs: Sequence[Path], registry: Registry | None) -> list[Side]:
    """The runs, named by their models where these differ, and else also by their fingerprints.

    Args:
        runs: Run folders.
        registry: What there is; by default what mechpaint and installed plugins bring.

    Raises:
        AccountError: A folder that is no run folder, or one of an earlier mechpaint.
        IncompleteRun: A run with cells that are missing or damaged.
    """
    analyses = known(registry).analyses
    found = [kept(folder, analyses) for folder in runs]
    models = [run.account.model.name if run.account.model else run.account.analysis.name for run in found]
    names = models
    if len(set(models)) < len(models):
        names = [f"{model} ({run.folder.resolve().name[:8]})" for model, run in zip(models, found, strict=True)]
    return [Side(name, run, run.table()) for name, run in zip(names, found, strict=True)]


def apart_table(found: Sequence[Apart]) -> list[Table]:
    """A table of what only some runs have; none if there is nothing.

    Args:
        found: What only some have.
    """
    rows = [(each.what, each.only, f"{len(each.names):,}", _listed(each.names)) for each in found if each.names]
    if not rows:
        return []
    caption = "What a run has and one that it is compared with has not. It is not compared."
    return [Table("not-in-common", "Not in common", caption, ("what", "only in", "how many", "which"), rows)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
