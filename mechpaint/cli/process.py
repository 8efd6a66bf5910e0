"""The process around a command: Ctrl-C at any moment, and standard streams that are closed, full or not UTF-8.

Imports little, so that it is in charge before numpy and torch are imported.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import unicodedata
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, cast

INTERRUPTED, _BROKEN_PIPE = 130, 141
"""What shells say of processes that SIGINT and SIGPIPE ended."""

_ERRORS = "mechpaint"
_IMPORT = "<frozen importlib._bootstrap"
_PLAIN = str.maketrans(dict(zip("×·−‐‑–—‘’“”", "x.-----''\"\"", strict=True))) | str.maketrans(
    {"≠": "!=", "≤": "<=", "≥": ">=", "≈": "~", "±": "+-", "…": "...", "→": "->", "←": "<-", "⟶": "->", "²": "^2"}
)
"""Readable substitutes for what an encoding lacks."""


class _Interrupts:
    """The handler of SIGINT.

    While a command works, the first signal is a `KeyboardInterrupt`, after which blocks clean up. A second one ends the
    process at once; so does one while a module is being imported, where an exception may be swallowed or replaced.
    """

    def __init__(self) -> None:
        self.words = ""
        self.working = self.given = self.said = False

    def install(self) -> None:
        """Take over from Python's own handler; a signal that is ignored stays so, as in a shell's background jobs."""
        self.words, self.working, self.given, self.said = "", False, False, False
        with suppress(ValueError):  # not the main thread
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.working or self.given or _importing(frame):
            self._end()
        self.given = True
        raise KeyboardInterrupt

    def _end(self) -> NoReturn:
        with suppress(OSError):
            if os.isatty(2):
                os.write(2, b"\r\x1b[?25h\x1b[K")  # a progress display hides the cursor
            if not self.said:
                os.write(2, f"{self._line()}\n".encode())
        os._exit(INTERRUPTED)

    def say(self) -> None:
        """Tell of the interruption, once."""
        self.given = True
        if not self.said:
            self.said = True
            print(self._line(), file=sys.stderr)  # noqa: T201

    def _line(self) -> str:
        return f"interrupted: {self.words}" if self.words else "interrupted"


interrupts = _Interrupts()


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORT):
            return True
        frame = frame.f_back
    return False


def run_process(do: Callable[[], object]) -> NoReturn:
    """Call `do`, and end with its status: 130 if it was interrupted, 1 if its output could not be written."""
    interrupts.install()
    with _streams():
        status = _status(do)
    sys.exit(status)


def _status(do: Callable[[], object]) -> Any:
    status: Any = 0
    try:
        interrupts.working = True
        do()
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except SystemExit as stopped:
        status = stopped.code
    except Exception:
        if not interrupts.given:
            raise
    finally:
        interrupts.working = False
    if interrupts.given or status == INTERRUPTED:
        interrupts.say()
        return INTERRUPTED
    try:
        sys.stdout.flush()
    except SystemExit as stopped:
        status = status or stopped.code
    return status


class Output(io.TextIOBase):
    """A standard stream that cannot fail with a traceback.

    What cannot be encoded is replaced. Where standard output cannot be written, a line says so and the command ends
    with status 1, or without a word if its reader has gone; errors of standard error have nowhere to be told.
    """

    def __init__(self, stream: Any, results: bool) -> None:
        self._stream = stream
        self._results = results
        self._lost = False

    def write(self, text: str) -> int:
        """Write, unless that has failed before."""
        if not isinstance(cast("object", text), str):
            raise TypeError(f"expected text, got {type(text).__name__}")
        if not self._lost:
            try:
                self._write(text)
            except (OSError, ValueError) as error:
                self._lose(error)
        return len(text)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            self._stream.write(text.encode(self.encoding, _ERRORS).decode(self.encoding, "replace"))

    def flush(self) -> None:
        """Flush, unless writing has failed before."""
        if not self._lost:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._lost = True
        with suppress(OSError, ValueError, AttributeError):  # Python flushes once more at the end
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        if not self._results:
            return
        if isinstance(error, BrokenPipeError):
            raise SystemExit(_BROKEN_PIPE)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        print(  # noqa: T201
            f"error: cannot write to standard output: {reason}. Only what it was to show is lost", file=sys.stderr
        )
        raise SystemExit(1)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return bool(self._stream.isatty())
        except (AttributeError, OSError, ValueError):
            return False

    def fileno(self) -> int:
        """The file descriptor."""
        return self._stream.fileno()

    def close(self) -> None:
        """Do nothing: the stream is not ours to close."""

    def writable(self) -> bool:
        """Always."""
        return True

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How the stream treats what it cannot encode."""
        return getattr(self._stream, "errors", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _streams() -> Generator[None]:
    """Standard streams that can be written to whatever they are."""
    before = sys.stdout, sys.stderr
    _occupy()
    codecs.register_error(_ERRORS, _substitute)
    sys.stderr = Output(_writable(sys.stderr, 2), False)
    sys.stdout = Output(_writable(sys.stdout, 1), True)
    try:
        yield
    finally:
        with suppress(SystemExit):
            sys.stdout.flush()
        sys.stderr.flush()
        if all(before):
            sys.stdout, sys.stderr = before


def _occupy() -> None:
    """Open the closed ones of descriptors 0 to 2, lest files get them and be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):  # what is written to standard output fails, as it does where it is closed
                os.open(os.devnull, os.O_RDWR if number == 2 else os.O_RDONLY)


def _writable(stream: Any, number: int) -> Any:
    if stream is None:
        return open(number, "w", encoding="utf-8", errors=_ERRORS, closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_ERRORS)
    return cast("Any", stream)


def _substitute(error: UnicodeError) -> tuple[str | bytes, int]:
    """Readable substitutes for what cannot be encoded; the bytes of file names that are not UTF-8 as they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return bytes([ord(character) & 0xFF]), error.start + 1
    plain = character.translate(_PLAIN)
    if not plain.isascii():
        plain = unicodedata.normalize("NFD", character).encode("ascii", "ignore").decode()
    return plain or "?", error.start + 1
