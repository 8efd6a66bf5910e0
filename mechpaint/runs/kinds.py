"""The four kinds of analysis: which options each takes, and how each is planned. The only place that lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mechpaint.analysis import Analysis, Experiment, ModelAnalysis, RouteAnalysis, SearchAnalysis
from mechpaint.errors import InputError, TaskError, there_is_no
from mechpaint.runs.options import ExecutionOptions, HookOptions, ModelOptions, SearchOptions, TaskOptions

if TYPE_CHECKING:
    from mechpaint.plugins import Registry
    from mechpaint.runs.plans.plan import Plan
    from mechpaint.runs.plans.routed_model import RoutedModel
    from mechpaint.tasks.task import Task


@dataclass(frozen=True)
class Kind:
    """A kind of analysis: its base class, the groups of its options, what plans it, and options worth an example."""

    base: type[Analysis]
    options: tuple[type[Any], ...]
    plan: Callable[[Any, Registry, Mapping[str, Any]], Plan]
    examples: tuple[str, ...]


def kind_of(analysis: type[Analysis]) -> Kind:
    """The kind of an analysis."""
    for kind in KINDS:
        if issubclass(analysis, kind.base):
            return kind
    bases = ", ".join(kind.base.__name__ for kind in KINDS)
    raise TypeError(f"the analysis {analysis.name!r} is of no known kind; expected a subclass of one of: {bases}")


def _route_plan(analysis: RouteAnalysis, registry: Registry, options: Mapping[str, Any]) -> Plan:
    tasks, rows = chosen_tasks(registry, options["task"] or analysis.tasks, options), batch_size(options)
    model = _routed_model(registry, options)
    from mechpaint.runs.plans.route_plan import RoutePlan, Settings

    return RoutePlan.of(analysis, model, Settings(tasks, options["limit"] or None, options["seed"], rows))


def _search_plan(analysis: SearchAnalysis, registry: Registry, options: Mapping[str, Any]) -> Plan:
    tasks, rows = chosen_tasks(registry, options["task"] or analysis.tasks, options), batch_size(options)
    model = _routed_model(registry, options)
    from mechpaint.runs.plans.search_plan import SearchPlan, SearchSettings

    settings = SearchSettings(tasks, options["limit"], options["held_out"], options["seed"], rows)
    return SearchPlan.of(analysis, model, settings)


def _model_plan(analysis: ModelAnalysis, registry: Registry, options: Mapping[str, Any]) -> Plan:
    model = _routed_model(registry, options)
    from mechpaint.runs.plans.model_plan import ModelPlan

    return ModelPlan.of(analysis, model)


def _experiment_plan(analysis: Experiment, registry: Registry, options: Mapping[str, Any]) -> Plan:
    from mechpaint.runs.plans.experiment_plan import ExperimentPlan

    return ExperimentPlan.of(analysis)


_ROUTE_EXAMPLES = (
    "--limit 8 --dry-run",
    "--model gemma-3-270m --task facts --task text:my.txt",
    "--hooks 'skip(4, 7)'",
)
_SEARCH_EXAMPLES = ("--limit 8 --dry-run", "--model gemma-3-270m --task facts")
_MODEL_EXAMPLES = ("--model toy-induction", "--model smollm2-135m --hooks 'skip(4, 7)'")

KINDS = (
    Kind(RouteAnalysis, (ModelOptions, HookOptions, TaskOptions, ExecutionOptions), _route_plan, _ROUTE_EXAMPLES),
    Kind(SearchAnalysis, (ModelOptions, SearchOptions, ExecutionOptions), _search_plan, _SEARCH_EXAMPLES),
    Kind(ModelAnalysis, (ModelOptions, HookOptions, ExecutionOptions), _model_plan, _MODEL_EXAMPLES),
    Kind(Experiment, (ExecutionOptions,), _experiment_plan, ("--dry-run", "--out elsewhere")),
)


def batch_size(options: Mapping[str, Any]) -> int | None:
    """The batch size that was asked for; None for the default."""
    if options["batch_size"] is not None and options["batch_size"] < 1:
        raise InputError(f"the batch size (--batch-size) must be 1 or more, got {options['batch_size']}")
    return options["batch_size"]


def chosen_tasks(
    registry: Registry, tasks: Sequence[str | Task[Any]], options: Mapping[str, Any]
) -> tuple[Task[Any], ...]:
    """Find tasks by name, or by name and argument as `text:my.txt`; a group of lm-eval's is several."""
    from mechpaint.tasks.lm_eval.task import LmEval, Sources, lm_eval_tasks

    sources = Sources.of_options(options["task_path"], options["task_data"], options["num_fewshot"])
    chosen: list[Task[Any]] = []
    for given in tasks:
        if not isinstance(given, str):
            chosen.append(given)
            continue
        name, colon, argument = given.partition(":")
        if name not in registry.tasks:
            raise TaskError(there_is_no("task", name, registry.tasks))
        task = registry.tasks[name].from_argument(argument if colon else None)
        chosen += lm_eval_tasks(argument, sources) if isinstance(task, LmEval) else [task]
    sources.check_used(chosen)
    return tuple(chosen)


def _routed_model(registry: Registry, options: Mapping[str, Any]) -> RoutedModel:
    """Load the model, and see that the hook sets only reroute it."""
    from mechpaint.display.terminal import status
    from mechpaint.models.presets import check_name

    given = options["model"]
    if isinstance(given, str):
        check_name(given)  # before the seconds that importing torch takes
    from mechpaint.engine.arguments import as_hook_set

    hooks = as_hook_set(options.get("hooks", ""), registry.hook_sets)
    with status(f"loading {given}" if isinstance(given, str) else "loading"):
        from mechpaint.models.loading import load
        from mechpaint.runs.plans.routed_model import RoutedModel

    model = load(given, device=options["device"], device_map=options["device_map"], dtype=options["dtype"])
    return RoutedModel(model, str(given) if isinstance(given, str) else str(model.cfg.model_name), hooks)
