"""Plugins on the command line: the option `--plugin`, the command `plugins`, warnings of what was left out.

Names and messages of plugins are untrusted: they are shown as text, never as markup or terminal codes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from mechpaint.analysis import Analysis
from mechpaint.cli.errors import print_warning
from mechpaint.cli.options import OutputOptions, command_for
from mechpaint.cli.output import print_rows
from mechpaint.display.sanitize import sanitize
from mechpaint.errors import PluginError
from mechpaint.plugins import VARIABLE, Discovery, Plugin, Registry, discover
from mechpaint.runs.kinds import kind_of

PLUGINS_EPILOG = (
    "Plugins are entry points of installed packages in the group mechpaint.plugins, and files given with --plugin. "
    f"{VARIABLE}=a,b in the environment chooses among the former. Exit status: 0 all that were chosen are loaded, "
    "1 some are not."
)


def take_plugins(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take every `--plugin FILE` from the arguments, up to `--`, since an analysis in a file is a command.

    A last `--plugin` without a file is all that remains of the arguments, for Typer to refuse.
    """
    files: list[str] = []
    others: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, equals, value = argument.partition("=")
        if argument == "--":
            others += [argument, *left]
        elif name != "--plugin":
            others.append(argument)
        elif (file := value if equals else next(left, None)) is not None:
            files.append(file)
        else:
            return files, [name]
    return files, others


def find_plugins(registry: Registry, files: Sequence[str]) -> Discovery:
    """Load what the user has chosen, except plugins whose analyses cannot be commands."""
    return discover(registry, files, _check_command)


def _check_command(analysis: type[Analysis]) -> None:
    try:
        app = typer.Typer(add_completion=False)
        app.command()(command_for(analysis, (*kind_of(analysis).options, OutputOptions), lambda made, options: None))
        typer.main.get_command(app)
    except Exception as error:  # Typer refuses a field's type in several ways
        raise PluginError(f"the analysis {analysis.name!r} cannot be a command: {error}") from error


def plugins_command(registry: Registry, files: Sequence[str]) -> Callable[..., None]:
    """Make the command `plugins`, given the registry without plugins and the plugin files."""

    def plugins(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
        """Show every plugin: where it comes from, what it adds, and what is wrong with it."""
        discovery = find_plugins(registry, files)
        if as_json:
            rows = [_as_json(plugin) for plugin in discovery.plugins]
            print(json.dumps({"plugins": rows, "missing": discovery.missing}, indent=2))  # noqa: T201
        else:
            _print(discovery)
        if discovery.refused or discovery.missing:
            raise typer.Exit(1)

    return plugins


def warn(discovery: Discovery) -> None:
    """Warn of each plugin that was asked for and left out."""
    for plugin in discovery.refused:
        of = f" of {plugin.package} {plugin.version}" if plugin.package else ""
        print_warning(f"the plugin {plugin.name}{of} was left out ({plugin.status}); for more: mechpaint plugins")
    for name in discovery.missing:
        print_warning(f"{VARIABLE} names {name}, and there is no such plugin; for more: mechpaint plugins")


def _as_json(plugin: Plugin) -> dict[str, Any]:
    return {
        "plugin": plugin.name,
        "package": plugin.package,
        "version": plugin.version,
        "from": plugin.place,
        "status": plugin.status,
        "brings": dict(plugin.brings),
        "reason": plugin.reason or None,
        "traceback": plugin.traceback or None,
    }


def _print(discovery: Discovery) -> None:
    console = Console()
    if not discovery.plugins:
        console.print("There are no plugins: no package has one, and none was given with --plugin.", highlight=False)
    else:
        rows: list[tuple[str | Text, ...]] = []
        for plugin in discovery.plugins:
            package = f"{plugin.package} {plugin.version}" if plugin.package else ""
            brings = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in plugin.brings.items() if names)
            status = Text(plugin.status, "red" if plugin in discovery.refused else "")
            rows.append((plugin.name, package, plugin.place, status, brings))
        print_rows("plugins", ("plugin", "package", "from", "status", "brings"), rows)
    for plugin in discovery.refused:
        lines = [f"{plugin.name}: {plugin.reason}", *(f"  {line}" for line in plugin.traceback.splitlines())]
        console.print(Text(sanitize("\n" + "\n".join(lines))), soft_wrap=True)
    there = ", ".join(plugin.name for plugin in discovery.plugins if plugin.package) or "none"
    for name in discovery.missing:
        console.print(Text(sanitize(f"\n{VARIABLE} names {name}, and there is no such plugin; there are: {there}")))
