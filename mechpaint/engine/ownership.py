"""One thread at a time: while a model's layers are replaced, forward passes of other threads are refused."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn
from weakref import WeakKeyDictionary

from torch import nn

from mechpaint.errors import CannotReroute


@dataclass
class _Owner:
    thread: int
    entered: int = 0


_LOCK = threading.Lock()
_OWNERS: WeakKeyDictionary[nn.Module, _Owner] = WeakKeyDictionary()
"""The thread that has changed a model, for as long as it has."""


@contextmanager
def owned(module: nn.Module) -> Generator[None]:
    """Within this context the current thread alone runs a module; it may enter again.

    Raises:
        CannotReroute: Another thread is within.
    """
    with _LOCK:
        owner = _OWNERS.setdefault(module, _Owner(threading.get_ident()))
        if owner.thread != threading.get_ident():
            refuse_thread()
        owner.entered += 1
    first = module.register_forward_pre_hook(_check_thread, prepend=True)
    try:
        yield
    finally:
        first.remove()
        with _LOCK:
            owner.entered -= 1
            if not owner.entered:
                _OWNERS.pop(module, None)


def _check_thread(module: nn.Module, args: object) -> None:
    """Refuse the current thread if another one owns the module."""
    owner = _OWNERS.get(module)
    if owner is not None and owner.thread != threading.get_ident():
        refuse_thread()


def refuse_thread() -> NoReturn:
    """Refuse a forward pass, a sweep or an `attach` of another thread."""
    raise CannotReroute(
        "another thread has this model attached, or sweeps it: run the model in the thread that attached it, or load "
        "one model for each thread"
    )
