"""Options of commands: one for each field of an analysis, and of the groups of options in `mechpaint.runs.options`."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from mechpaint.analysis import Analysis
from mechpaint.cli.completion import COMPLETIONS
from mechpaint.display.sanitize import sanitize
from mechpaint.errors import InputError
from mechpaint.runs.options import MODEL, OUTPUT, RUNNING, option

Options = dict[str, Any]

_ROOM = 80

_PARTS: dict[Any, str] = {
    int: "whole numbers separated by commas, such as 1,3,5",
    float: "numbers separated by commas, such as 0.1,1,10",
    str: "words separated by commas, such as a,b,c",
}
"""The types of a tuple's members, and how it is written."""


@dataclass(frozen=True)
class Option:
    """An option of a command: its type, its default (`inspect.Parameter.empty` if it is required), and its help.

    `panel` is the part of the help that it is in; None for the first.
    """

    kind: Any
    default: Any
    help: str
    panel: str | None = None


def command_for(
    analysis: type[Analysis], groups: Sequence[type[Any]], do: Callable[[Any, Options], None]
) -> Callable[..., None]:
    """A function whose signature Typer reads as options: the fields of an analysis and of groups of options.

    A tuple is written with commas, `1,3,5`. `do` is called with the analysis, and the values of the groups' fields.
    """
    own = {field.name: field for field in dataclasses.fields(analysis)}
    types = typing.get_type_hints(analysis)

    def command(**given: Any) -> None:
        try:
            made = analysis(**{name: _value(given.pop(name), types[name], name) for name in own})
        except InputError as error:
            raise typer.BadParameter(str(error)) from error
        do(made, given)

    options = [(name, _option(field, types[name])) for name, field in own.items()]
    options += [option for group in groups for option in _options(group, analysis)]
    order = [None, *dict.fromkeys((MODEL, RUNNING, OUTPUT, *(option.panel for _, option in options)))]
    by_panel = sorted(options, key=lambda option: order.index(option[1].panel))
    parameters = [_parameter(name, option) for name, option in by_panel]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def in_panels() -> bool:
    """Whether help is shown in panels: these cut off the names of options where there is no room for them."""
    return Console().width >= _ROOM


def help_text(text: str) -> str:
    """A text for help, literal."""
    return escape(sanitize(text)) if in_panels() else sanitize(text)


def _options(group: type[Any], analysis: type[Analysis]) -> Iterator[tuple[str, Option]]:
    """The fields of a group as options; the model's default is the analysis's own."""
    types = typing.get_type_hints(group)
    for one in dataclasses.fields(group):
        option = _option(one, types[one.name])
        if one.name == "model":
            default = getattr(analysis, "model")  # noqa: B009 - an `Experiment` has none
            option = dataclasses.replace(option, kind=str, default=default)
        yield one.name, option


def _parameter(name: str, option: Option) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    names = f"{flag}/--no-{flag[2:]}" if option.default is True else flag
    shown = option.default not in (None, "", [], inspect.Parameter.empty)
    made: Any = typer.Option(
        names,
        help=help_text(option.help),
        show_default=shown,
        rich_help_panel=option.panel,
        autocompletion=COMPLETIONS.get(name),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=Annotated[option.kind, made]
    )


def _option(field: dataclasses.Field[Any], kind: Any) -> Option:
    """A field as an option; a tuple is written as text."""
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    if default is dataclasses.MISSING:
        default = inspect.Parameter.empty
    text, panel = str(field.metadata.get("help", "")), field.metadata.get("panel")
    if _member(kind) is None:
        return Option(kind, default, text, panel)
    if isinstance(default, tuple):
        default = ",".join(map(str, typing.cast("tuple[Any, ...]", default)))
    return Option(str, "" if default is None else default, text, panel)


def _member(kind: Any) -> Any:
    """The member type of a tuple, or of an optional one; None for other types."""
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


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The output of `analyze`."""

    dry_run: bool = option(False, "Say what would be done and what it costs, then stop.", RUNNING)
    tables: bool = option(False, "Print all tables of the report.", OUTPUT)
    json: bool = option(False, "Print the results as JSON.", OUTPUT)
