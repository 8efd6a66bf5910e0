"""Hook sets as text, for the command line: `average(4, 13) + loop(4, 13, times=3)`."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Mapping
from typing import NoReturn

from mechpaint.errors import HookSetError, RouteError
from mechpaint.routes.hookset import HookSet, named
from mechpaint.routes.notation import caret


def parse_hook_set(text: str, hook_sets: Mapping[str, type[HookSet]], expected: str = "one of these names") -> HookSet:
    """Read what `str(hook_set)` writes: names, literals and `+`; `expected` is said where a name is unknown."""
    if not text.strip():
        return HookSet()
    try:
        with warnings.catch_warnings(action="ignore"):  # Python's own on texts such as 1if 2else 3
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        at = (getattr(error, "offset", None) or 1) - 1
        raise HookSetError(caret(text.strip(), at, "cannot read the hook set", _SHAPE)) from None
    try:
        return _Reader(text.strip(), hook_sets, expected).read(tree)
    except RecursionError:
        raise HookSetError(f"cannot read the hook set: it is nested too deeply; expected {_SHAPE}") from None


_SHAPE = "calls joined by '+', such as skip(4, 7) + read_attention(layers=[5])"


class _Reader:
    """Reads the syntax tree of a text, and marks in the text what it cannot read."""

    def __init__(self, text: str, hook_sets: Mapping[str, type[HookSet]], expected: str) -> None:
        self.text, self.hook_sets, self.expected = text, hook_sets, expected

    def read(self, node: ast.expr) -> HookSet:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.read(node.left) + self.read(node.right)
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            self.fail(node, "cannot read the hook set", _SHAPE)
        try:
            kind = named(self.hook_sets, node.func.id)
        except HookSetError as error:
            self.fail(node, str(error), self.expected)
        arguments = [self.literal(a) for a in node.args]
        keywords = self.keywords(node.keywords)
        try:
            return kind(*arguments, **keywords)
        except (TypeError, HookSetError, RouteError) as error:
            self.fail(node, str(error), f"{kind.text_name()}{_signature(kind)}")

    def keywords(self, given: list[ast.keyword]) -> dict[str, object]:
        values: dict[str, object] = {}
        for keyword in given:
            if keyword.arg is None or keyword.arg in values:
                self.fail(keyword.value, "cannot read the argument", "each name once, as in loop(4, 13, times=3)")
            values[keyword.arg] = self.literal(keyword.value)
        return values

    def literal(self, node: ast.expr) -> object:
        try:
            value: object = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError):
            self.fail(node, "cannot read the argument", "a number, a quoted text or a list")
        return value

    def fail(self, node: ast.expr, problem: str, expected: str) -> NoReturn:
        # ast counts columns in UTF-8 bytes
        at = len(self.text.encode()[: node.col_offset].decode(errors="ignore"))
        raise HookSetError(caret(self.text, at, problem, expected))


def _signature(kind: type[HookSet]) -> str:
    return "(" + ", ".join(inspect.signature(kind).parameters) + ")"
