"""A MkDocs hook: the page of the command line is written from the commands themselves, so it cannot fall behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from mechpaint.cli.app import commands
from mechpaint.plugins import built_in

PAGE = "reference/cli.md"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Add every command to the page of the command line."""
    return f"{markdown}\n{reference()}" if page.file.src_uri == PAGE else markdown


def reference() -> str:
    """Every command with its options, as Markdown."""
    whole = get_command(commands(built_in()))
    return "\n".join(line for name, command in _walk("mechpaint", whole) for line in _section(name, command))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for part, one in getattr(command, "commands", {}).items():
        yield from _walk(f"{name} {part}", one)


def _section(name: str, command: Any) -> Iterator[str]:
    yield from ("", f"## {name}", "", _plain(command.help))
    if command.params:
        yield from ("", "| option | what it is | by default |", "|---|---|---|")
        yield from map(_row, command.params)


def _row(option: Any) -> str:
    names = "`" + "`, `".join([*option.opts, *option.secondary_opts]) + "`"
    given = option.show_default and option.default not in (None, "", []) and option.default is not False
    return f"| {names} | {_plain(option.help)} | {f'`{option.default}`' if given else ''} |"


def _plain(text: str | None) -> str:
    """Text as it stands in a cell."""
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
