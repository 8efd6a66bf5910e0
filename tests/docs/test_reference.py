"""The reference is whole: every public name is on a page, and says what each of its parameters is."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import griffe
import pytest
from typer.main import get_command

from mechpaint.cli.app import commands
from mechpaint.plugins import built_in
from tests.docs.fences import ROOT

MODULES = (
    "mechpaint",
    "mechpaint.hooks",
    "mechpaint.analyses",
    "mechpaint.tasks",
    "mechpaint.tasks.lm_eval.harness_model",
    "mechpaint.circuits",
    "mechpaint.lenses",
    "mechpaint.toy",
    "mechpaint.toy.probes",
    "mechpaint.analysis",
    "mechpaint.report",
    "mechpaint.statistics",
    "mechpaint.runs",
    "mechpaint.scoring",
    "mechpaint.finetuning",
    "mechpaint.plugins",
    "mechpaint.errors",
)
SAYS_PARAMETERS = {griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes}


def _package() -> griffe.Module:
    loader = griffe.GriffeLoader(
        search_paths=[ROOT], docstring_parser="google", extensions=griffe.load_extensions("dataclasses")
    )
    package = loader.load("mechpaint")
    loader.resolve_aliases()
    return package


PACKAGE = _package()


def _public(module: str) -> Iterator[tuple[str, griffe.Object]]:
    """The names of `__all__`."""
    inside = PACKAGE[module.removeprefix("mechpaint.")] if module != "mechpaint" else PACKAGE
    for name in importlib.import_module(module).__all__:
        thing = inside.members[name]
        yield f"{module}.{name}", thing.final_target if thing.is_alias else thing


PUBLIC = {path: thing for module in MODULES for path, thing in _public(module)}


def _documented(thing: griffe.Object) -> set[str]:
    """The parameters that a docstring describes."""
    sections = thing.docstring.parsed if thing.docstring else []
    return {one.name.lstrip("*") for section in sections if section.kind in SAYS_PARAMETERS for one in section.value}


def _parameters(thing: griffe.Object) -> set[str]:
    return {parameter.name.lstrip("*") for parameter in thing.parameters} - {"self", "cls"}


@pytest.mark.parametrize("path", PUBLIC)
def test_every_parameter_is_documented(path):
    """Of public functions and classes in a section of their own; of methods there, or in the text by name."""
    thing = PUBLIC[path]
    if not (thing.is_class or thing.is_function):
        return
    assert thing.docstring, path
    assert _parameters(thing) <= _documented(thing)
    for name, method in thing.members.items():
        if not thing.is_class or name.startswith("_") or not method.is_function:
            continue
        assert method.docstring, name
        text = method.docstring.value.replace("_", " ")
        inherited = any(name in base.members for base in thing.mro())
        missing = {p for p in _parameters(method) - _documented(method) if p.replace("_", " ") not in text}
        assert inherited or not missing, f"{path}.{name}"


def test_public_names_are_those_of_python():
    """What griffe reads from the sources is what an import gives."""
    for module in ("mechpaint", "mechpaint.hooks", "mechpaint.toy", "mechpaint.circuits", "mechpaint.tasks"):
        listed = importlib.import_module(module).__all__
        assert {f"{module}.{name}" for name in listed} <= PUBLIC.keys()


def test_every_public_name_is_in_the_reference(site):
    raw = (site / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]
    entries = [line.split(" ") for line in zlib.decompress(raw).decode().splitlines()]
    pages = {name: (target.split("#")[0], target.partition("#")[2] or name) for name, _, _, target, *_ in entries}
    for path in PUBLIC:
        assert path in pages, path
        page, anchor = pages[path]
        assert page.startswith("reference/")
        assert anchor.replace("$", path) in _anchors(site / page), path


@cache
def _anchors(page: Path) -> set[str]:
    found: set[str] = set()

    class Ids(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.update(value for name, value in attrs if name == "id")

    Ids().feed(page.read_text(encoding="utf-8"))
    return found


def test_every_option_is_on_the_page_of_the_command_line(site):
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")

    def check(name, command):
        assert f">{name}<" in page, name
        for option in command.params:
            for flag in (*option.opts, *option.secondary_opts):
                assert f"<code>{flag}</code>" in page, flag
        for part, one in getattr(command, "commands", {}).items():
            check(f"{name} {part}", one)

    check("mechpaint", get_command(commands(built_in())))
