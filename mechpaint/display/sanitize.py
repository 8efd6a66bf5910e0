"""Text made safe to show on a page, in a file or on a terminal."""

from __future__ import annotations

import reprlib
from html import escape

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
_C1 = range(0x80, 0xA0)
_SURROGATES = range(0xD800, 0xE000)
_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHOWN = {**_PICTURES, **dict.fromkeys([*_C1, *_SURROGATES, *_TURNING], 0xFFFD)}


def sanitize(text: str) -> str:
    """Replace control characters by visible symbols.

    Controls other than tab and newline become their symbols (NUL ␀, ESC ␛). Those without a symbol become �: C1
    controls, lone surrogates, which cannot be encoded, and bidirectional embeddings, overrides and isolates (Unicode
    Standard Annex #9). Right-to-left letters stay.
    """
    return text.translate(_SHOWN)


def short(value: object) -> str:
    """A value in an error message: its `repr`, cut where it is long, or its type where it has none."""
    try:
        return sanitize(reprlib.repr(value))
    except Exception:  # of objects of users, and of integers with thousands of digits
        return f"<{type(value).__name__}>"


def safe(text: str) -> str:
    """Sanitize and escape text for an element or attribute of a page."""
    return escape(sanitize(text))
