"""What a run says of itself besides its records: enough to draw its report without its model and data."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from mechpaint.analysis import Analysis, Experiment, ModelAnalysis, RouteAnalysis, SearchAnalysis
from mechpaint.errors import InputError, RunError
from mechpaint.routes.route import Route
from mechpaint.statistics.results import ModelFacts, Results, SearchFacts, TaskFacts
from mechpaint.tasks.lm_eval.tables import lm_eval_tables

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.report import Report

MANIFEST = "account.json"
"""The file in a run folder that has it."""


@dataclass(frozen=True)
class Manifest:
    """What a report is drawn from, besides the records.

    Args:
        analysis: What was run.
        model: What it needs to know of the model; None for an `Experiment`.
        tasks: What it needs to know of the tasks; none for analyses without tasks.
        details: What the page tells of how it was run, as names and values.
        search: What a search needs to know besides; None for all others.
    """

    analysis: Analysis
    model: ModelFacts | None
    tasks: tuple[TaskFacts, ...]
    details: tuple[tuple[str, str], ...]
    search: SearchFacts | None = None

    def results(self, table: pd.DataFrame) -> Results:
        """Records with what is known of them.

        Args:
            table: All records of a `RouteAnalysis`.

        Raises:
            ValueError: It is no run of a `RouteAnalysis`.
        """
        if self.model is None or not isinstance(self.analysis, RouteAnalysis):
            raise ValueError(f"the analysis {self.analysis.name!r} scores no routes")
        return Results(table, self.model.routes, self.tasks, self.model.name, self.model.n_layers)

    def report(self, table: pd.DataFrame) -> Report:
        """What the analysis says of its records, and the tables of lm-eval's metrics where tasks are lm-eval's.

        Args:
            table: All records.
        """
        analysis = self.analysis
        if isinstance(analysis, RouteAnalysis):
            results = self.results(table)
            drawn = analysis.report(results)
            return replace(drawn, sections=[*drawn.sections, *lm_eval_tables(results)])
        if isinstance(analysis, ModelAnalysis) and self.model is not None:
            return analysis.report(table, self.model)
        if isinstance(analysis, SearchAnalysis) and self.model is not None and self.search is not None:
            from mechpaint.runs.schemas import parted

            return analysis.report(*parted(table, self.model, self.tasks, self.search))
        return cast(Experiment, analysis).report(table)

    def telling(self, more: list[tuple[str, str]]) -> Manifest:
        """The same with more details.

        Args:
            more: Names and values.
        """
        return replace(self, details=(*self.details, *more))

    def text(self) -> str:
        """As JSON, for `Manifest.read`."""
        told = {
            "analysis": self.analysis.name,
            "settings": fields_to_json(self.analysis),
            "model": to_json(self.model),
            "tasks": to_json(self.tasks),
            "details": to_json(self.details),
            **({} if self.search is None else {"search": to_json(self.search)}),
        }
        return json.dumps(told, indent=1) + "\n"

    @classmethod
    def read(cls, text: str, analyses: Mapping[str, type[Analysis]]) -> Manifest:
        """The account that `text` gave.

        Args:
            text: What it gave.
            analyses: The analyses there are, by name.

        Raises:
            RunError: It is not one, or of an analysis that is not there, or that has other settings by now.
        """
        try:
            told: Any = json.loads(text)
            name = str(told["analysis"])
            if name not in analyses:
                raise RunError(
                    f"there is no analysis {name!r}; there are: {', '.join(analyses)}. If it is a plugin's, load that "
                    "(--plugin FILE.py)"
                )
            model, tasks, details = (from_json(told[part]) for part in ("model", "tasks", "details"))
            search = from_json(told.get("search"))
            return cls(made(analyses[name], told["settings"]), model, tasks, details, search)
        except Unreadable as error:
            raise RunError(f"cannot read what the run says of itself: {error}") from error
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise RunError(f"cannot read what the run says of itself, {MANIFEST}: {error}") from error


class NotJsonable(TypeError):
    """A value that cannot be kept as JSON, and made again of it."""


class Unreadable(ValueError):
    """JSON of which no value can be made: in what way."""


def to_json(value: object) -> Any:
    """A value in what `json.dumps` takes, so that `from_json` makes it again.

    Args:
        value: None, a bool, int, float or str, a `Route`, a dataclass, or a tuple, list or mapping (with str keys) of
            these.

    Raises:
        NotJsonable: It is, or has in it, something else.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        case Route():
            return {"route": str(value), "layers": value.n_layers}
        case tuple():
            return [to_json(each) for each in cast("tuple[object, ...]", value)]
        case list():
            return {"list": [to_json(each) for each in cast("list[object]", value)]}
        case Mapping():
            return {"mapping": _mapping(cast("Mapping[object, object]", value))}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            kind = type(value)
            return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": fields_to_json(value)}
        case _:
            raise NotJsonable(
                f"cannot keep {value!r} with a run: expected numbers, texts, routes, frozen dataclasses, and tuples, "
                "lists or mappings of these"
            )


def fields_to_json(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as `to_json` has them.

    Args:
        value: The dataclass.

    Raises:
        NotJsonable: A field is, or has in it, what cannot be kept.
    """
    return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}


def from_json(data: Any) -> Any:
    """The value that `to_json` was given.

    Args:
        data: What it gave.

    Raises:
        Unreadable: It is no such JSON, or of a class that is not there, or that has other fields by now.
    """
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return tuple(from_json(each) for each in cast("list[Any]", data))
    match cast("dict[str, Any]", data):
        case {"float": str(text)}:
            return float(text)
        case {"route": str(text), "layers": int(layers)}:
            return Route.parse(text, layers)
        case {"list": values}:
            return list(map(from_json, values))
        case {"mapping": values}:
            return {key: from_json(each) for key, each in values.items()}
        case {"class": str(name), "fields": fields}:
            return made(_class(name), fields)
        case _:
            raise Unreadable(f"expected what a run keeps as JSON, got {data!r}")


def made(kind: type[Any], fields: Mapping[str, Any]) -> Any:
    """A dataclass of what `fields_to_json` gave.

    Args:
        kind: The class.
        fields: What it gave.

    Raises:
        Unreadable: The class has other fields.
    """
    expected = [field.name for field in dataclasses.fields(kind) if field.init]
    if set(expected) != set(fields):
        raise Unreadable(
            f"{kind.__name__} has the fields {', '.join(expected) or 'none'} here, and was kept with "
            f"{', '.join(fields) or 'none'}: use the version that computed the run"
        )
    return kind(**{name: from_json(value) for name, value in fields.items()})


def _mapping(value: Mapping[object, object]) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise NotJsonable(f"cannot keep a mapping with the key {key!r} with a run: expected texts as keys")
    return {str(key): to_json(each) for key, each in value.items()}


def _class(name: str) -> type[Any]:
    """A dataclass by the name of its module and its own. Only mechpaint's own modules are imported for it."""
    module, _, qualified = name.partition(":")
    if module.partition(".")[0] == "mechpaint" and module not in sys.modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise Unreadable(f"there is no {name}: use the version of mechpaint that computed the run") from None
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise Unreadable(
            f"there is no dataclass {name}: load the plugin that it is from (--plugin FILE.py), and use the versions "
            "that computed the run"
        )
    return found
