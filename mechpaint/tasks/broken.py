"""Where a JSON file is broken, by line: what `datasets` says counts from within a block of ten megabytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

_SHOWN = 60


def broken_line(path: Path) -> str | None:
    """The first line that is no JSON object, and why, in words; None where all are.

    Args:
        path: A file of JSON lines, or of one JSON list, compressed or not.
    """
    import fsspec

    number = 0
    try:
        with cast(Any, fsspec).open(str(path), "rb", compression="infer") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1 and line.lstrip().startswith(b"["):
                    return _broken_list(line + lines.read())
                reason = _reason(line)
                if reason is not None:
                    return f"line {number} {reason}: {_shown(line)}"
    except (OSError, EOFError) as error:  # compressed, and damaged
        return f"after line {number}: {error}"
    return None


def _reason(line: bytes) -> str | None:
    if not line.strip():
        return None
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        return f"is no JSON ({error.msg} at character {error.pos + 1})"
    except UnicodeDecodeError as error:
        return f"is no UTF-8 ({error.reason} at byte {error.start + 1})"
    return None if isinstance(found, dict) else f"is a {type(found).__name__}, not an object"


def _broken_list(text: bytes) -> str | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno} is no JSON ({error.msg} at character {error.colno})"
    except UnicodeDecodeError as error:
        return f"it is no UTF-8 ({error.reason} at byte {error.start + 1})"
    return None


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
