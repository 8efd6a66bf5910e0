"""The notation of routes, `0-3 (4-13)x3 14-17`: parsed, and printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NoReturn

from mechpaint.errors import RouteError
from mechpaint.routes.steps import MAX_STEPS, Step, run_length, steps_in_order

_SPACE = re.compile(r"\s*")
_INTEGER = re.compile(r"[0-9]+")


def parse(text: str, n_layers: int) -> tuple[Step, ...]:
    """Read the notation."""
    return _Parser(text, n_layers).parse()


class _Parser:
    """Recursive descent over the notation. `at` is the next character to read."""

    def __init__(self, text: str, n_layers: int) -> None:
        self.text = text
        self.n_layers = n_layers
        self.at = 0

    def parse(self) -> tuple[Step, ...]:
        steps = self.sequence(end="")
        if not steps:
            self.fail("the route is empty", "a layer such as 0, a range such as 0-3, '(' or '['")
        return steps

    def sequence(self, end: str) -> tuple[Step, ...]:
        """Items up to the closing character, or to the end of the text."""
        steps: list[Step] = []
        while self.peek() != end:
            start = self.at
            steps += self.item()
            if len(steps) > MAX_STEPS:
                self.fail("the route is too long", f"at most {MAX_STEPS:,} steps", start)
            if self.at < len(self.text) and self.text[self.at] not in " \t\n\r" + (end or " "):
                self.fail("cannot read the route", "a space between steps")
        return tuple(steps)

    def item(self) -> tuple[Step, ...]:
        start = self.at
        opening = self.peek()
        if opening == "(":
            return (self.group(),) * self.times()
        if opening == "[":
            steps = self.bracket()
            return self.repeated(steps, start)
        first = self.layer("a layer number, '(' or '['")
        if not self.take("-"):
            return (Step((first,)),) * self.times()
        last = self.layer("the last layer of the range")
        if self.text[self.at : self.at + 1] == "x":
            word = self.text[start : self.at]
            self.fail("a repeated range is ambiguous", f"[{word}]x… for the sequence, or ({word})x… for the average")
        return tuple(Step((i,)) for i in _through(first, last))

    def repeated(self, steps: tuple[Step, ...], start: int) -> tuple[Step, ...]:
        times = self.times()
        if len(steps) * times > MAX_STEPS:
            self.fail("the route is too long", f"at most {MAX_STEPS:,} steps", start)
        return steps * times

    def bracket(self) -> tuple[Step, ...]:
        start = self.at
        self.take("[")
        steps = self.sequence(end="]") if self.has_closing("]", start) else ()
        if not steps:
            self.fail("the sequence is empty", "a layer number, '(' or '['", start + 1)
        self.take("]")
        return steps

    def has_closing(self, closing: str, start: int) -> bool:
        if closing not in self.text[self.at :]:
            self.fail(f"{self.text[start]!r} is never closed", f"a matching {closing!r}", start)
        return True

    def group(self) -> Step:
        start = self.at
        self.take("(")
        self.has_closing(")", start)
        if self.peek() == ")":
            self.fail("the group is empty", "a layer number", self.at)
        layers: list[int] = []
        separator = ""
        while True:
            at = self.at
            members = self.members()
            twice = set(members).intersection(layers)
            if twice:
                self.fail(f"layer {min(twice)} is in the group already", "each layer once", at)
            layers += members
            following = self.peek()
            if following == ")":
                break
            if following == "+" and separator in ("", "+"):
                separator = self.take("+")
                self.peek()
            elif following == "+" or separator == "+":
                self.fail("a group is either averaged or summed", "'+' between all members, or between none")
            else:
                separator = " "
        self.take(")")
        return Step(tuple(layers), "sum" if separator == "+" else "mean")

    def members(self) -> list[int]:
        first = self.layer("a layer number or ')'")
        return list(_through(first, self.layer("the last layer of the range"))) if self.take("-") else [first]

    def times(self) -> int:
        if not self.take("x"):
            return 1
        at = self.at
        times = self.integer("how many times")
        if not 1 <= times <= MAX_STEPS:
            self.fail(f"cannot repeat {times} times", f"a number from 1 to {MAX_STEPS:,}", at)
        return times

    def layer(self, expected: str) -> int:
        at = self.at
        layer = self.integer(expected)
        if layer >= self.n_layers:
            self.fail(f"layer {layer} does not exist", f"a layer from 0 to {self.n_layers - 1}", at)
        return layer

    def integer(self, expected: str) -> int:
        digits = _INTEGER.match(self.text, self.at)
        if not digits:
            self.fail("cannot read the route", expected)
        self.at = digits.end()
        return int(digits[0]) if len(digits[0]) <= 9 else 10**9

    def peek(self) -> str:
        """Skip blanks; the character there, or "" at the end."""
        blanks = _SPACE.match(self.text, self.at)
        self.at = blanks.end() if blanks else self.at
        return self.text[self.at : self.at + 1]

    def take(self, character: str) -> str:
        if not self.text.startswith(character, self.at):
            return ""
        self.at += len(character)
        return character

    def fail(self, problem: str, expected: str, at: int | None = None) -> NoReturn:
        raise RouteError(caret(self.text, self.at if at is None else at, problem, expected))


def caret(text: str, at: int, problem: str, expected: str) -> str:
    """An error message that shows the text with a caret under the character at fault."""
    shown = "".join(" " if c in "\t\n\r" else c for c in text)
    return f"{problem}: expected {expected}\n  {shown}\n  {' ' * at}^"


def _through(first: int, last: int) -> range:
    return range(first, last + 1) if first <= last else range(first, last - 1, -1)


def words(steps: Sequence[Step]) -> Iterator[str]:
    """The route's words, each as long as it can be: a repeat, a range up or down, or one step."""
    i = 0
    while i < len(steps):
        repeats = run_length(steps, i, lambda a, b: a == b)
        longest = max(repeats, steps_in_order(steps, i))
        if longest == 1:
            yield str(steps[i])
        elif longest == repeats:
            yield f"{steps[i]}x{repeats}"
        else:
            yield f"{steps[i]}-{steps[i + longest - 1]}"
        i += longest


def notation(steps: Sequence[Step]) -> str:
    """Steps as text, as short as it can be."""
    return " ".join(words(steps))
