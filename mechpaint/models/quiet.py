"""Hugging Face's own bars and warnings, kept out of ours."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any


@contextmanager
def quietly() -> Generator[None]:
    """Silence its warnings within this context too, as where new weights are intended."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with without_bars():
            yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def without_bars() -> Generator[None]:
    """Show none of Hugging Face's progress bars within this context."""
    from transformers import modeling_gguf_pytorch_utils
    from transformers.utils import logging

    gguf: Any = modeling_gguf_pytorch_utils
    shown, bar = logging.is_progress_bar_enabled(), gguf.tqdm
    logging.disable_progress_bar()
    gguf.tqdm = _without_bar  # which no setting turns off
    try:
        yield
    finally:
        gguf.tqdm = bar
        if shown:
            logging.enable_progress_bar()


def _without_bar(iterable: Iterable[Any], **_: object) -> Iterable[Any]:
    return iterable
