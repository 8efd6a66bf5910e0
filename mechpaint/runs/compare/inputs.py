"""The runs of a comparison, each with a name of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mechpaint.analysis import Analysis
from mechpaint.report import Section, Table
from mechpaint.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 10


@dataclass(frozen=True)
class ComparedRun:
    """A run of a comparison, and what it is called on the page."""

    name: str
    run: Run

    @property
    def analysis(self) -> Analysis:
        """The analysis."""
        return self.run.inputs.analysis

    @property
    def table(self) -> pd.DataFrame:
        """Its records."""
        return self.run.table


@dataclass(frozen=True)
class Apart:
    """Names that only some runs of a comparison have.

    Args:
        what: Such as `"hook sets"`.
        only: Which run has it.
        names: What it is.
    """

    what: str
    only: str
    names: Sequence[str]


def compared_runs(runs: Sequence[Run]) -> list[ComparedRun]:
    """Name runs by their models where these differ, and else also by their fingerprints."""
    names = [run.manifest.model or run.manifest.analysis for run in runs]
    if len(set(names)) < len(names):
        names = [f"{name} ({run.path.resolve().name[:8]})" for name, run in zip(names, runs, strict=True)]
    return [ComparedRun(name, run) for name, run in zip(names, runs, strict=True)]


def apart_table(apart: Sequence[Apart]) -> list[Table]:
    """A table of what only some runs have; none if there is nothing."""
    rows = [(each.what, each.only, f"{len(each.names):,}", _listed(each.names)) for each in apart if each.names]
    if not rows:
        return []
    caption = "Present in one run and missing in another, so not compared."
    return [Table("not-in-common", "Not in common", caption, ("what", "only in", "how many", "which"), rows)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


_LONGEST = 60


def unlike_settings(sides: Sequence[ComparedRun]) -> list[Table]:
    """A table of the settings and versions that differ; none if all are the same."""
    told = [_told(side.run) for side in sides]
    names = dict.fromkeys(name for each in told for name in each)
    rows = [
        (name, *(each.get(name, "–") for each in told)) for name in names if len({each.get(name) for each in told}) > 1
    ]
    if not rows:
        return []
    caption = "Settings and versions that differ between the runs."
    return [Table("settings", "Settings that differ", caption, ("setting", *(side.name for side in sides)), rows)]


def _told(run: Run) -> dict[str, str]:
    """Every setting by its path, and every version."""
    parts = (run.manifest.config, run.manifest.environment)
    return {name: _short(value) for part in parts for name, value in _flat("", part)}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    inside: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inside = [(str(key), each) for key, each in cast("dict[Any, Any]", value).items()]
    elif isinstance(value, list) and any(isinstance(each, dict) for each in cast("list[Any]", value)):
        inside = [(str(place + 1), each) for place, each in enumerate(cast("list[Any]", value))]
    if not inside:
        yield name, value
    for key, each in inside:
        yield from _flat(f"{name} {key}".strip(), each)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


@dataclass(frozen=True)
class Made:
    """A comparison.

    Args:
        summary: The findings, in paragraphs.
        sections: Tables and figures of differences; none where there is nothing in common.
        apart: A table of what only some runs have, if there is such.
        warnings: What a reader must know before believing it.
    """

    summary: Sequence[str]
    sections: Sequence[Section]
    apart: Sequence[Table]
    warnings: Sequence[str] = ()
