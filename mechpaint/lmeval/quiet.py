"""lm-eval without its logging, progress bars and warnings, and an error that says how to install it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from mechpaint.tasks.items import TaskError

_LOGGERS = ("lm_eval", "datasets", "huggingface_hub")


def require_lm_eval() -> None:
    """Refuse where lm-eval is not installed.

    Raises:
        TaskError: It is not.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise TaskError("the task lm_eval needs lm-eval, which is not installed: pip install 'mechpaint[eval]'")


@contextmanager
def quiet() -> Generator[None]:
    """Nothing that lm-eval and its libraries print, log or warn of is seen inside. Errors are raised as ever."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
