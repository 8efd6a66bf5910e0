"""Text that can be shown: on a page, in a file, on a terminal, where it neither ends nor turns anything."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
_C1 = range(0x80, 0xA0)
_SURROGATES = range(0xD800, 0xE000)
_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHOWN = {**_PICTURES, **dict.fromkeys([*_C1, *_SURROGATES, *_TURNING], 0xFFFD)}


def sanitize(text: str) -> str:
    """The text with a picture in place of each character that would act instead of being seen.

    Control characters but tab and newline become their pictures (NUL ␀, ESC ␛). What has no picture becomes �: C1
    controls, lone surrogates, which no encoding can write, and the controls that turn the direction of the text after
    them (Unicode Standard Annex #9, embeddings, overrides and isolates). Letters that run from right to left stay.
    """
    return text.translate(_SHOWN)


def safe(text: str) -> str:
    """Text as it can stand in an element and in an attribute of a page."""
    return escape(sanitize(text))
