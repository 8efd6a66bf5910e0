"""The fenced blocks of every page: README, CONTRIBUTING and whatever is under docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ANEW = "import mechpaint as mp\n"
"""With this, in its first line, a block begins a program of its own; other blocks go on with the one before."""

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<rest>[^\n`]*)\n(?P<text>.*?)^(?P=indent)``` *$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: The page's path within the repository.
        line: Where its text begins, from 1.
        language: As written after the fence.
        text: What is in it.
        title: The name of the file that it is, if the fence says so.
        output: What a block of the language `text` right after it shows, if there is one.
    """

    page: str
    line: int
    language: str
    text: str
    title: str | None = None
    output: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(path: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    page = path.relative_to(ROOT).as_posix()
    found = [*_FENCE.finditer(text)]
    return [_block(page, text, match, after) for match, after in zip(found, [*found[1:], None], strict=False)]


def _block(page: str, text: str, match: re.Match[str], after: re.Match[str] | None) -> Block:
    indent = len(match["indent"])
    lines = [line[indent:] if line.strip() else line.strip(" ") for line in match["text"].splitlines(keepends=True)]
    title = re.search(r'title="([^"]+)"', match["rest"])
    start = text.count("\n", 0, match.start("text")) + 1
    shown = after if after and after["language"] == "text" and not text[match.end() : after.start()].strip() else None
    return Block(
        page, start, match["language"], "".join(lines), title[1] if title else None, shown["text"] if shown else None
    )


def programs(language: str) -> Iterator[list[Block]]:
    """The blocks of a language that belong together: those of a page, cut where one begins anew."""
    for path in PAGES:
        program: list[Block] = []
        for block in blocks_of(path):
            if block.language == language:
                if program and block.text.startswith(ANEW):
                    yield program
                    program = []
                program.append(block)
        if program:
            yield program


def name(program: list[Block]) -> str:
    """What a test of it is called."""
    return str(program[0])


def shows(printed: str, expected: str) -> bool:
    """Whether that was printed; `…` stands for anything."""
    pattern = ".*".join(map(re.escape, "\n".join(map(str.rstrip, expected.strip().splitlines())).split("…")))
    return re.fullmatch(pattern, "\n".join(map(str.rstrip, printed.strip().splitlines())), re.S) is not None
