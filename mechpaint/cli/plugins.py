"""Plugins as the command line knows them: the option `--plugin`, the command `plugins`, warnings of what was left out.

Names and messages of plugins are anyone's text: they are shown as text, never as markup or terminal codes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mechpaint.analysis import Analysis
from mechpaint.cli.errors import print_warning
from mechpaint.cli.options import OutputOptions, command_for
from mechpaint.display.sanitize import sanitize
from mechpaint.errors import PluginError
from mechpaint.plugins import (
    VARIABLE,
    Discovery,
    Loaded,
    NotChosen,
    Outcome,
    Plugin,
    Refused,
    Registry,
    chosen_by,
    discover,
)
from mechpaint.runs.kinds import kind_of

PLUGINS_EPILOG = (
    "Plugins are the entry points mechpaint.plugins of installed packages, and the files given with --plugin. "
    f"{VARIABLE}=a,b in the environment chooses among the former. Exit status: 0 all that were chosen are loaded, "
    "1 some are not."
)

_OPTION = "--plugin"


def take_plugins(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files that are named by `--plugin`, anywhere among the arguments, and the other arguments.

    An analysis in such a file is a command: so this is read before the commands are known. After `--` nothing is taken.
    Where a file is missing, only `--plugin` is left, which is refused as any option without its value is.
    """
    files: list[str] = []
    others: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        name, equals, value = argument.partition("=")
        if argument == "--":
            return files, [*others, argument, *left]
        if name != _OPTION:
            others.append(argument)
        elif equals or left:
            files.append(value if equals else left.pop(0))
        else:
            return files, [_OPTION]
    return files, others


def find_plugins(registry: Registry, files: Sequence[str]) -> Discovery:
    """Load what the user has chosen. Plugins whose analyses cannot be commands are left out too."""
    return discover(registry, files, chosen_by(os.environ), _check_command)


def _check_command(analysis: type[Analysis]) -> None:
    try:
        app = typer.Typer(add_completion=False)
        app.command()(command_for(analysis, (*kind_of(analysis).options, OutputOptions), lambda made, options: None))
        typer.main.get_command(app)
    except Exception as error:  # whatever Typer makes of a field of a type that it does not know
        raise PluginError(f"the analysis {analysis.name!r} cannot be a command: {error}") from error


def plugins_command(registry: Registry, files: Sequence[str]) -> Callable[..., None]:
    """The command `plugins`."""

    def plugins(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
        """Show every plugin: where it is from, what it brings, and what is wrong with it."""
        found = find_plugins(registry, files)
        _show(found, as_json)
        if found.refused() or found.missing:
            raise typer.Exit(1)

    return plugins


def warn(found: Discovery) -> None:
    """A line on standard error for every plugin that was asked for and is not there."""
    for source, refused in found.refused():
        of = f" of {source.package}" if source.package else ""
        _warn(f"the plugin {source.name}{of} was left out ({refused.why})")
    for name in found.missing:
        _warn(f"{VARIABLE} names {name}, and there is no such plugin")


def _warn(message: str) -> None:
    print_warning(f"{message}; for more: mechpaint plugins")


def _show(found: Discovery, as_json: bool) -> None:
    if as_json:
        shown = {"plugins": [_facts(plugin) for plugin in found.plugins], "missing": found.missing}
        print(json.dumps(shown, indent=2))  # noqa: T201
        return
    console = Console()
    if found.plugins:
        console.print(_table(found))
    else:
        console.print("There are no plugins: no package has one, and none was given with --plugin.", highlight=False)
    for source, refused in found.refused():
        lines = [f"{source.name}: {refused.reason}", *(f"  {line}" for line in refused.traceback.splitlines())]
        console.print(Text("\n" + "\n".join(map(sanitize, lines))), soft_wrap=True)
    for name in found.missing:
        there = ", ".join(plugin.source.name for plugin in found.plugins if plugin.source.package) or "none"
        console.print(Text(sanitize(f"\n{VARIABLE} names {name}, and there is no such plugin; there are: {there}")))


def _table(found: Discovery) -> Table:
    table = Table("plugin", "package", "from", "status", "brings", title="plugins", title_justify="left")
    for plugin in found.plugins:
        source = plugin.source
        style = "red" if isinstance(plugin.outcome, Refused) else ""
        cells = (source.name, str(source.package or ""), source.place)
        table.add_row(*map(_cell, cells), Text(_status(plugin.outcome), style), _cell(_brings(plugin.outcome)))
    return table


def _cell(text: str) -> Text:
    return Text(sanitize(text), overflow="fold")


def _status(outcome: Outcome) -> str:
    match outcome:
        case Loaded():
            return "loaded"
        case NotChosen():
            return "not chosen"
        case Refused():
            return outcome.why


def _brings(outcome: Outcome) -> str:
    if not isinstance(outcome, Loaded):
        return ""
    return "\n".join(f"{kind}: {', '.join(names)}" for kind, names in outcome.brings.items() if names)


def _facts(plugin: Plugin) -> dict[str, Any]:
    source, outcome = plugin.source, plugin.outcome
    package, refused = source.package, outcome if isinstance(outcome, Refused) else None
    return {
        "plugin": source.name,
        "package": package and package.name,
        "version": package and package.version,
        "from": source.place,
        "status": _status(outcome),
        "brings": dict(outcome.brings) if isinstance(outcome, Loaded) else {},
        "reason": refused and refused.reason,
        "traceback": refused and refused.traceback,
    }
