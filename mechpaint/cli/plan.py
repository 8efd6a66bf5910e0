"""`mechpaint plan`: what an analysis would cost, on any model, without its weights.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from mechpaint.analysis import Analysis, Experiment, ModelAnalysis, RouteAnalysis, SearchAnalysis
from mechpaint.cli.errors import EPILOG, examples, handle_errors
from mechpaint.cli.options import command_for, help_text
from mechpaint.cli.output import print_plan
from mechpaint.errors import PlanError
from mechpaint.planning.accelerators import ACCELERATORS, Efficiency, Roofline, accelerator
from mechpaint.plugins import Registry
from mechpaint.routes.hookset_text import parse_hook_set
from mechpaint.runs.kinds import batch_size, chosen_tasks
from mechpaint.runs.options import OUTPUT, TaskOptions
from mechpaint.runs.options import option as _option

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.tasks.task import Task

ROWS = 32
"""The batch size assumed on an accelerator, whose free memory is not known here."""

_REACHED = Efficiency()
_PLACE = "Where it would run"


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Of what, and for where, a plan is made."""

    model: str = _option(
        "",
        "llama-2-7b, llama-2-13b, llama-2-70b, a preset, a folder with a config.json, such a file, "
        "or a name on the hub.",
    )
    hooks: str = _option("", "Hook sets to run everything under, such as 'skip(4, 7)'.")
    dtype: str | None = _option(None, "float32 (the default), bfloat16, float16.", _PLACE)


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where it is to run, and rows of tokens in place of items."""

    on: str = _option("here", f"Where it is to run: here, which is measured, or {', '.join(ACCELERATORS)}.", _PLACE)
    items: int | None = _option(None, "Plan for so many rows of tokens, in place of a task's items.", _PLACE)
    tokens: int = _option(64, "How many tokens each of these has.", _PLACE)
    scored: int = _option(1, "At how many positions each of these is scored.", _PLACE)
    reached: float = _option(
        _REACHED.compute, "What share of its peak rate matrix products are taken to reach on an accelerator.", _PLACE
    )
    reached_bandwidth: float = _option(
        _REACHED.bandwidth, "What share of its memory's bandwidth operations are taken to reach there.", _PLACE
    )
    launch: float = _option(_REACHED.launch, "How many seconds an operation is taken to need there at least.", _PLACE)
    json: bool = _option(False, "Print the results as JSON.", OUTPUT)


def plan_commands(registry: Registry) -> typer.Typer:
    """`mechpaint plan`, with one command for each analysis; those that need weights say what to use instead."""
    app = typer.Typer(
        help="Say what an analysis would take, from a model's configuration alone: layer calls, floating-point "
        "operations, memory, hours, workers. No weights are loaded.",
        no_args_is_help=True,
    )
    groups = (PlanOptions, TaskOptions, PlaceOptions)
    for name, analysis in registry.analyses.items():
        if issubclass(analysis, RouteAnalysis):
            command = command_for(analysis, groups, lambda made, options: _plan(registry, made, options))
            app.command(name, help=help_text(analysis.question), epilog=examples(*_examples(name)))(command)
        else:
            anything = {"allow_extra_args": True, "ignore_unknown_options": True}
            said = help_text(f"No plan: mechpaint analyze {name} --dry-run")
            app.command(name, help=said, epilog=EPILOG, context_settings=anything)(_unplanned(analysis))
    return app


def _examples(name: str) -> tuple[str, ...]:
    return (
        f"mechpaint plan {name} --model smollm2-135m --task facts --limit 100",
        f"mechpaint plan {name} --model llama-2-7b --dtype bfloat16 --on h100 --items 500 --tokens 64",
    )


_REASONS: tuple[tuple[type[Analysis], str], ...] = (
    (SearchAnalysis, "which routes it scores depends on the scores of the routes before"),
    (ModelAnalysis, "it measures a model itself, which takes its weights"),
    (Experiment, "it makes and trains models of its own, whose cost is that of their steps"),
)


def _unplanned(analysis: type[Analysis]) -> Callable[[], None]:
    """A command that says why there is no plan, whatever it is given."""
    reason = next((reason for kind, reason in _REASONS if issubclass(analysis, kind)), "it is of no known kind")

    def command() -> None:
        with handle_errors("nothing was written"):
            raise PlanError(
                f"{analysis.name} cannot be planned from a configuration alone: {reason}. Use: mechpaint analyze "
                f"{analysis.name} --dry-run"
            )

    return command


def _plan(registry: Registry, analysis: RouteAnalysis, options: Mapping[str, Any]) -> None:
    with handle_errors("nothing was written"):
        on = _where(options)
        asked = batch_size(options)
        hooks = parse_hook_set(options["hooks"], registry.hook_sets)
        from mechpaint.planning.flops import to_plan
        from mechpaint.runs.plans.route_plan import RoutePlan, Settings
        from mechpaint.runs.plans.routed_model import RoutedModel

        model = to_plan(options["model"], options["dtype"], measured=on is None)
        tasks = _tasks(registry, analysis, model, options)
        rows = asked or (None if on is None else ROWS)
        limit = None if options["items"] is not None else options["limit"] or None
        settings = Settings(tasks, limit, options["seed"], rows)
        plan = RoutePlan.of(analysis, RoutedModel(model, options["model"], hooks), settings)
        print_plan(plan.estimate(on).told(), options["json"])


def _where(options: Mapping[str, Any]) -> Roofline | None:
    if options["on"] == "here":
        return None
    reached = Efficiency(options["reached"], options["reached_bandwidth"], options["launch"])
    return Roofline(accelerator(options["on"]), options["dtype"] or "float32", reached)


def _tasks(
    registry: Registry, analysis: RouteAnalysis, model: TransformerBridge, options: Mapping[str, Any]
) -> tuple[Task[Any], ...]:
    if options["items"] is not None:
        if options["task"]:
            raise PlanError("--items stands in place of tasks: expected --items or --task, got both")
        from mechpaint.tasks.synthetic import Described

        return (Described(options["items"], options["tokens"], options["scored"]),)
    if model.tokenizer is None:
        raise PlanError(
            f"{options['model']} comes without a tokenizer, which the items of tasks are made with: "
            "expected --items N --tokens T"
        )
    return chosen_tasks(registry, options["task"] or analysis.tasks, options)
