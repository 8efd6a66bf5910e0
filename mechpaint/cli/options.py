"""Options of `mechpaint analyze`: those that every analysis has, and one for each field of the analysis itself."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from mechpaint.analysis import Analysis
from mechpaint.errors import InputError

Options = dict[str, Any]

_COMMON: dict[str, tuple[Any, Any, str]] = {
    # name: (type, default, help)
    "model": (str, "gemma-3-270m", "A preset, a local Hugging Face folder, or a name on the hub."),
    "task": (list[str], [], "What to measure; may be given several times. `mechpaint list` shows them."),
    "limit": (int | None, None, "How many items of each task; by default all."),
    "hooks": (str, "", "Hook sets to run everything under, such as 'skip(4, 7)'."),
    "batch_size": (int, 32, "How many token rows go through the model together."),
    "device": (str | None, None, "cpu, cuda, mps, …; by default the fastest there is."),
    "dtype": (str | None, None, "float32 (the default), bfloat16, float16."),
    "seed": (int, 0, "Of the items' choice and order."),
    "out": (str, "runs", "The folder of all runs."),
    "dry_run": (bool, False, "Say what would be done and what it costs, then stop."),
    "json": (bool, False, "Print the results as JSON."),
}


def command_for(analysis: type[Analysis], do: Callable[[Analysis, Options], None]) -> Callable[..., None]:
    """A function whose signature Typer reads as the options of one analysis.

    Args:
        analysis: The analysis; each field becomes an option, a tuple of integers as `1,3,5`.
        do: Called with the analysis made, and the common options.
    """
    own = {field.name: field for field in dataclasses.fields(analysis)}
    types = typing.get_type_hints(analysis)

    def command(**given: Any) -> None:
        try:
            made = analysis(**{name: _value(given.pop(name), types[name], name) for name in own})
        except InputError as error:
            raise typer.BadParameter(str(error)) from error
        do(made, given)

    parameters = [_parameter(name, kind, default, text) for name, (kind, default, text) in _COMMON.items()]
    parameters += [
        _parameter(f.name, _shown(types[f.name]), _text(f.default), str(f.metadata.get("help", "")))
        for f in own.values()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameter(name: str, kind: Any, default: Any, text: str) -> inspect.Parameter:
    option: Any = typer.Option(f"--{name.replace('_', '-')}", help=text, show_default=default not in (None, "", []))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _is_tuple(kind: Any) -> bool:
    return tuple in (typing.get_origin(kind), *map(typing.get_origin, typing.get_args(kind)))


def _shown(kind: Any) -> Any:
    """A tuple of integers is written as text."""
    return str if _is_tuple(kind) else kind


def _text(value: Any) -> Any:
    if isinstance(value, tuple):
        return ",".join(map(str, typing.cast(tuple[Any, ...], value)))
    return "" if value is None else value


def _value(given: Any, kind: Any, name: str) -> Any:
    """A field's value from an option's."""
    if not _is_tuple(kind):
        return given
    if given == "" and type(None) in typing.get_args(kind):
        return None
    try:
        return tuple(int(part) for part in str(given).split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(
            f"expected whole numbers separated by commas, such as 1,3,5, got {given!r}",
            param_hint=f"--{name.replace('_', '-')}",
        ) from None
