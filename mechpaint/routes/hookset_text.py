"""Hook sets as text, for the command line: `average(4, 13) + loop(4, 13, times=3)`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import NoReturn

from mechpaint.errors import HookSetError, RouteError
from mechpaint.routes.hookset import HookSet, named
from mechpaint.routes.notation import caret


def parse_hook_set(text: str, hook_sets: Mapping[str, type[HookSet]]) -> HookSet:
    """Read the text form that `str(hook_set)` writes. Only names, literals and `+` are read; nothing is evaluated.

    Args:
        text: One or more calls joined by `+`. Empty for the hook set that does nothing.
        hook_sets: The hook sets that may be named, by text name.

    Raises:
        HookSetError: With the place at fault marked.
    """
    if not text.strip():
        return HookSet()
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        at = (getattr(error, "offset", None) or 1) - 1
        raise HookSetError(caret(text.strip(), at, "cannot read the hook set", _SHAPE)) from None
    return _read(tree, text.strip(), hook_sets)


_SHAPE = "calls joined by '+', such as skip(4, 7) + read_attention(layers=[5])"


def _read(node: ast.expr, text: str, hook_sets: Mapping[str, type[HookSet]]) -> HookSet:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _read(node.left, text, hook_sets) + _read(node.right, text, hook_sets)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        _fail(node, text, "cannot read the hook set", _SHAPE)
    try:
        kind = named(hook_sets, node.func.id)
    except HookSetError as error:
        _fail(node, text, str(error), "one of these names")
    arguments = [_literal(a, text) for a in node.args]
    keywords = {k.arg: _literal(k.value, text) for k in node.keywords if k.arg is not None}
    try:
        return kind(*arguments, **keywords)
    except (TypeError, HookSetError, RouteError) as error:
        _fail(node, text, str(error), f"{kind.text_name()}{_signature(kind)}")


def _literal(node: ast.expr, text: str) -> object:
    try:
        value: object = ast.literal_eval(node)
    except ValueError:
        _fail(node, text, "cannot read the argument", "a number, a quoted text or a list")
    return value


def _signature(kind: type[HookSet]) -> str:
    return "(" + ", ".join(inspect.signature(kind).parameters) + ")"


def _fail(node: ast.expr, text: str, problem: str, expected: str) -> NoReturn:
    # ast counts columns in UTF-8 bytes
    at = len(text.encode()[: node.col_offset].decode(errors="ignore"))
    raise HookSetError(caret(text, at, problem, expected))
