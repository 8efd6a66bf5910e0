"""Options of `mechpaint analyze`: those of an analysis's kind, and one for each field of the analysis itself."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mechpaint.analysis import Analysis, Experiment, ModelAnalysis, RouteAnalysis, SearchAnalysis
from mechpaint.display.sanitize import sanitize
from mechpaint.errors import InputError, TaskError
from mechpaint.plugins import Registry
from mechpaint.routes.hookset_text import parse_hook_set
from mechpaint.tasks.task import Task

if TYPE_CHECKING:
    from mechpaint.runs.plans.plan import Plan
    from mechpaint.runs.routed_model import RoutedModel

Options = dict[str, Any]

_PARTS: dict[Any, str] = {
    int: "whole numbers separated by commas, such as 1,3,5",
    float: "numbers separated by commas, such as 0.1,1,10",
    str: "words separated by commas, such as a,b,c",
}
"""What the members of a tuple can be, and how it is written."""


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Args:
        kind: Its type.
        default: Where it is not given; `inspect.Parameter.empty` if it must be.
        help: What it is.
    """

    kind: Any
    default: Any
    help: str


def command_for(
    analysis: type[Analysis], common: Mapping[str, Option], do: Callable[[Any, Options], None]
) -> Callable[..., None]:
    """A function whose signature Typer reads as the options of one analysis.

    Args:
        analysis: The analysis; each field becomes an option. A tuple is written with commas, `1,3,5`.
        common: The options that it has besides, by name.
        do: Called with the analysis made, and the values of the common options.
    """
    own = {field.name: field for field in dataclasses.fields(analysis)}
    types = typing.get_type_hints(analysis)

    def command(**given: Any) -> None:
        try:
            made = analysis(**{name: _value(given.pop(name), types[name], name) for name in own})
        except InputError as error:
            raise typer.BadParameter(str(error)) from error
        do(made, given)

    parameters = [_parameter(name, option) for name, option in common.items()]
    parameters += [_parameter(name, _own(field, types[name])) for name, field in own.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameter(name: str, option: Option) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    names = f"{flag}/--no-{flag[2:]}" if option.default is True else flag
    shown = option.default not in (None, "", [], inspect.Parameter.empty)
    made: Any = typer.Option(names, help=escape(sanitize(option.help)), show_default=shown)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=Annotated[option.kind, made]
    )


def _own(field: dataclasses.Field[Any], kind: Any) -> Option:
    """A field as an option; a tuple is written as text."""
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    if default is dataclasses.MISSING:
        default = inspect.Parameter.empty
    if _member(kind) is None:
        return Option(kind, default, str(field.metadata.get("help", "")))
    if isinstance(default, tuple):
        default = ",".join(map(str, typing.cast("tuple[Any, ...]", default)))
    return Option(str, "" if default is None else default, str(field.metadata.get("help", "")))


def _member(kind: Any) -> Any:
    """What a tuple type, or an optional one, is a tuple of; None for other types."""
    for each in (kind, *typing.get_args(kind)):
        if typing.get_origin(each) is tuple:
            return typing.get_args(each)[0]
    return None


def _value(given: Any, kind: Any, name: str) -> Any:
    """A field's value from an option's."""
    member = _member(kind)
    if member is None:
        return given
    if given == "" and type(None) in typing.get_args(kind):
        return None
    try:
        return tuple(member(part.strip()) for part in str(given).split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(
            f"expected {_PARTS[member]}, got {given!r}", param_hint=f"--{name.replace('_', '-')}"
        ) from None


ROUTE_OPTIONS = {
    "task": Option(list[str], [], "What to measure; may be given several times. `mechpaint list` shows them."),
    "limit": Option(int | None, None, "How many items of each task; by default all."),
    "batch_size": Option(
        int | None, None, "How many token rows go through the model together; by default as many as pay and fit."
    ),
    "seed": Option(int, 0, "Of the items' choice and order."),
    "task_path": Option(str | None, None, "A folder of YAML files that define tasks of lm-eval."),
    "task_data": Option(
        list[str], [], "NAME=FILE: a local file for a task of lm-eval; NAME:fewshot=FILE for its few-shot examples."
    ),
    "num_fewshot": Option(
        int | None, None, "Examples before each question of lm-eval's tasks; by default as they say."
    ),
}
"""What is asked, and how."""

_SEARCH = {
    "limit": Option(int, 24, "How many items of each task the search scores."),
    "held_out": Option(int, 100, "How many more, which it does not see, what it found is scored on."),
    "seed": Option(int, 0, "Of the items' choice and order, and of everything random in the search."),
}

_EVERY = {
    "out": Option(str, "runs", "The folder of all runs."),
    "shard": Option(
        str | None, None, "I/N, such as 2/8: compute only this share, where N processes work in one folder of runs."
    ),
    "engine": Option(str, "here", "What computes: here, or ray (workers of a Ray cluster, or of one for this run)."),
    "workers": Option(
        int | None, None, "How many workers of Ray; by default one a GPU, or where there is none one a processor."
    ),
    "ray_address": Option(
        str | None, None, "The Ray cluster, such as 10.0.0.1:6379; by default RAY_ADDRESS, or else this machine."
    ),
    "dry_run": Option(bool, False, "Say what would be done and what it costs, then stop."),
    "json": Option(bool, False, "Print the results as JSON."),
}


def _model(name: str) -> dict[str, Option]:
    hooks = Option(str, "", "Hook sets to run everything under, such as 'skip(4, 7)'.")
    return {**_bare_model(name), "hooks": hooks}


def _bare_model(name: str) -> dict[str, Option]:
    """Of a search: what finds routes cannot be sure that hook sets fit them."""
    return {
        "model": Option(str, name, "A preset, a local Hugging Face folder, or a name on the hub."),
        "device": Option(str | None, None, "cpu, cuda, mps, …; by default the fastest there is."),
        "device_map": Option(str | None, None, "In place of a device: auto spreads the model over all there are."),
        "dtype": Option(str | None, None, "float32 (the default), bfloat16, float16."),
    }


@dataclass(frozen=True)
class Kind:
    """A kind of analysis.

    Args:
        base: What its analyses are subclasses of.
        options: From an analysis to the options that it has besides its own fields.
        plan: From an analysis, the registry and the options given to what is to be run.
    """

    base: type[Analysis]
    options: Callable[[Any], Mapping[str, Option]]
    plan: Callable[[Any, Registry, Mapping[str, Any]], Plan]


def kind_of(analysis: type[Analysis]) -> Kind:
    """The kind that an analysis is of.

    Raises:
        TypeError: It is of none.
    """
    for kind in KINDS:
        if issubclass(analysis, kind.base):
            return kind
    bases = ", ".join(kind.base.__name__ for kind in KINDS)
    raise TypeError(f"the analysis {analysis.name!r} is of no known kind; expected a subclass of one of: {bases}")


def _scored(analysis: RouteAnalysis, registry: Registry, options: Mapping[str, Any]) -> Plan:
    tasks, rows = chosen_tasks(registry, options["task"] or analysis.tasks, options), batch_size(options)
    routed_model = _subject(registry, options)
    from mechpaint.runs.plans.route_plan import ScoredPlan, Settings

    settings = Settings(tasks, options["limit"], options["seed"], rows)
    return ScoredPlan.of(analysis, routed_model, settings)


def _searched(analysis: SearchAnalysis, registry: Registry, options: Mapping[str, Any]) -> Plan:
    tasks, rows = chosen_tasks(registry, options["task"] or analysis.tasks, options), batch_size(options)
    routed_model = _subject(registry, options)
    from mechpaint.runs.plans.search_plan import SearchedPlan, SearchSettings

    settings = SearchSettings(tasks, options["limit"], options["held_out"], options["seed"], rows)
    return SearchedPlan.of(analysis, routed_model, settings)


def _measured(analysis: ModelAnalysis, registry: Registry, options: Mapping[str, Any]) -> Plan:
    routed_model = _subject(registry, options)
    from mechpaint.runs.plans.model_plan import MeasuredPlan

    return MeasuredPlan.of(analysis, routed_model)


def _experiment(analysis: Experiment, registry: Registry, options: Mapping[str, Any]) -> Plan:
    from mechpaint.runs.plans.experiment_plan import ExperimentPlan

    return ExperimentPlan.of(analysis)


def batch_size(options: Mapping[str, Any]) -> int | None:
    """How many token rows are to go through the model together; None where nobody says.

    Args:
        options: Those of `ROUTE_OPTIONS`.

    Raises:
        InputError: Less than one.
    """
    if options["batch_size"] is not None and options["batch_size"] < 1:
        raise InputError(f"--batch-size must be 1 or more, got {options['batch_size']}")
    return options["batch_size"]


def _subject(registry: Registry, options: Mapping[str, Any]) -> RoutedModel:
    from rich.console import Console

    hooks = parse_hook_set(options.get("hooks", ""), registry.hook_sets)
    with Console(stderr=True).status(f"loading {options['model']}"):
        from mechpaint.models.loading import load
        from mechpaint.runs.routed_model import RoutedModel

    model = load(options["model"], device=options["device"], device_map=options["device_map"], dtype=options["dtype"])
    return RoutedModel(model, options["model"], hooks)


def chosen_tasks(registry: Registry, texts: Sequence[str], options: Mapping[str, Any]) -> tuple[Task[Any], ...]:
    """The tasks that are asked for. A group of lm-eval's tasks is several.

    Args:
        registry: What there is.
        texts: The tasks, each a name, or a name and an argument with a colon between them.
        options: Those of `ROUTE_OPTIONS`.

    Raises:
        TaskError: No such task, or an argument that it has no use for.
    """
    from mechpaint.tasks.lm_eval.task import LmEval, Sources, lm_eval_tasks

    sources = Sources.of_options(options["task_path"], options["task_data"], options["num_fewshot"])
    found: list[Task[Any]] = []
    for text in texts:
        name, colon, argument = text.partition(":")
        if name not in registry.tasks:
            raise TaskError(f"there is no task {name!r}; there are: {', '.join(registry.tasks)}")
        task = registry.tasks[name].from_argument(argument if colon else None)
        found += lm_eval_tasks(argument, sources) if isinstance(task, LmEval) else [task]
    sources.check_used(found)
    return tuple(found)


KINDS = (
    Kind(RouteAnalysis, lambda analysis: {**_model(analysis.model), **ROUTE_OPTIONS, **_EVERY}, _scored),
    Kind(
        SearchAnalysis,
        lambda analysis: {**_bare_model(analysis.model), **ROUTE_OPTIONS, **_SEARCH, **_EVERY},
        _searched,
    ),
    Kind(ModelAnalysis, lambda analysis: {**_model(analysis.model), **_EVERY}, _measured),
    Kind(Experiment, lambda analysis: _EVERY, _experiment),
)
"""All kinds that there are."""
