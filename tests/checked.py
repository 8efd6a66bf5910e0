"""Runtime type checks of everything in mechpaint, at half of what jaxtyping's own import hook takes.

jaxtyping binds the arguments of every call to compare shapes, and checks them before and after it. Most functions have
no shapes in their signature: for them beartype alone, once a call, says the same.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException
from jaxtyping import _decorator  # pyright: ignore

_with_shapes: Any = _decorator.jaxtyped
_once = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))


def install() -> None:
    """Check every annotated function of mechpaint that is imported from now on."""
    _decorator.jaxtyped = jaxtyping.jaxtyped = _checked
    jaxtyping.install_import_hook("mechpaint", "beartype.beartype")


def _checked(fn: Any = None, *, typechecker: Any) -> Any:
    """Stand in for `jaxtyping.jaxtyped`."""
    if fn is None:
        return functools.partial(_checked, typechecker=typechecker)
    if hasattr(fn, "unchecked"):  # an inherited `__init__`
        return fn
    if not inspect.isfunction(fn):
        return _with_shapes(fn, typechecker=typechecker)
    hints = {name: _decorator._destring_annotation(hint, fn.__globals__) for name, hint in fn.__annotations__.items()}
    if any(map(_has_shapes, hints.values())):
        return _with_shapes(fn, typechecker=typechecker)
    if inspect.isgeneratorfunction(fn):
        hints.pop("return", None)  # a generator is one
    if all(hint is Any for hint in hints.values()):
        return fn
    try:
        return _switchable(fn, _typed(fn, hints))
    except BeartypeDecorHintException:
        return _with_shapes(fn, typechecker=typechecker)


def _has_shapes(hint: Any) -> bool:
    """Whether an annotation holds one of jaxtyping's, at any depth."""
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_has_shapes, hint if isinstance(hint, list) else get_args(hint)))


def _typed(fn: Any, hints: dict[str, Any]) -> Any:
    """The function under beartype, which reads annotations from the function itself."""
    written = fn.__annotations__
    fn.__annotations__ = hints
    try:
        return _once(fn)
    finally:
        fn.__annotations__ = written


def _switchable(fn: Any, typed: Any) -> Callable[..., Any]:
    """The typed function, or the bare one while a test has switched checks off."""
    config = jaxtyping.config

    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        return (fn if config.jaxtyping_disable else typed)(*args, **kwargs)

    run.unchecked = fn  # type: ignore[attr-defined]
    return run
