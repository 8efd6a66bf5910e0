"""A Markdown extension that writes the page of the command line from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from typer.main import get_command

from mechpaint.cli.app import commands
from mechpaint.plugins import built_in

MARK = "<!-- commands -->"


class Commands(Preprocessor):
    """Write every command in the place of the mark."""

    def run(self, lines: list[str]) -> list[str]:
        """The lines of a page, with the commands among them."""
        at = lines.index(MARK) if MARK in lines else len(lines)
        return [*lines[:at], *(reference().splitlines() if MARK in lines else ()), *lines[at + 1 :]]


class CliReference(Extension):
    """The extension."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Before HTML is taken out of the text, which would take the mark."""
        md.preprocessors.register(Commands(md), "commands", 100)


def makeExtension(**settings: Any) -> CliReference:
    """Called by Markdown."""
    return CliReference(**settings)


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
    examples = [line for line in (command.epilog or "").split("\n\n") if line.startswith("mechpaint ")]
    if examples:
        yield from ("", "```sh", *examples, "```")


def _row(option: Any) -> str:
    names = "`" + "`, `".join([*option.opts, *option.secondary_opts]) + "`"
    given = option.show_default and option.default not in (None, "", []) and option.default is not False
    return f"| {names} | {_plain(option.help)} | {f'`{option.default}`' if given else ''} |"


def _plain(text: str | None) -> str:
    """Text as it stands in a cell."""
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
