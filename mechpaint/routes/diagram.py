"""Routes as pictures: boxes are layers, arrows the residual stream; groups stand above each other, loops go back.

After the drawings of the variants in "Transformer Layers as Painters" (arXiv 2407.09298).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

from mechpaint.display.svg import SOFT, Canvas, Diagram, Length
from mechpaint.errors import DrawingError
from mechpaint.routes.notation import notation
from mechpaint.routes.steps import Step, Visit, ascending_runs, steps_in_order

MOST_BOXES = 1000
_WIDTH = 760
_BOX, _HEIGHT = 32, 26
_GAP = 18
_BETWEEN = 5  # members of a group
_ABOVE = 24  # where the arrow of a loop runs back
_MOST_MEMBERS = 14
_END_MEMBERS = 5
_MANY = 120
_FIRST, _LAST = (253, 240, 205), (122, 173, 219)  # light to darker, so that order shows in grey, too


@runtime_checkable
class Drawable(Protocol):
    """A thing to draw: a `Route`."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that run."""
        ...

    @property
    def n_layers(self) -> int:
        """The model's number of layers."""
        ...

    def visits(self) -> Iterator[Visit]:
        """Every visit of a layer, in order."""
        ...


@dataclass(frozen=True)
class Part:
    """Steps of a route that run `times` times, one after the other."""

    steps: tuple[Step, ...]
    times: int = 1


def parts(route: Drawable) -> tuple[Part, ...]:
    """A route with its loops found: wherever steps come again at once, they are one part."""
    stretches: list[Part] = []
    numbers = {step: i for i, step in enumerate(dict.fromkeys(route.steps))}
    steps = [numbers[step] for step in route.steps]  # which compare sooner
    at = 0
    while at < len(steps):
        length, times = _loop(steps, at)
        stretches.append(Part(route.steps[at : at + length], times))
        at += length * times
    return tuple(stretches)


def _loop(steps: Sequence[int], at: int) -> tuple[int, int]:
    """The length and count of the loop that begins here: the one that covers most, the shortest of these."""
    best = (1, 1)
    for length in range(1, (len(steps) - at) // 2 + 1):
        if steps[at] != steps[at + length]:
            continue
        unit = steps[at : at + length]
        times = 1
        while steps[at + times * length : at + (times + 1) * length] == unit:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def route_diagram(route: Drawable) -> Diagram:
    """Draw a route: layers as boxes, groups above each other, loops with an arrow back.

    A group's outputs meet in a node: `x̄`, their mean, or `Σ`, the incoming residual stream plus all updates. Boxes get
    darker from the model's first layer to its last. What never runs is named below.

    Args:
        route: Any route; `hook_set.route(n_layers)` gives that of a hook set.

    Raises:
        DrawingError: More than 1,000 boxes, with loops drawn once.
    """
    canvas = Canvas()
    width, bottom = _draw(canvas, route, 12)
    return canvas.diagram(width, bottom, in_words(route))


def routes_diagram(routes: Mapping[str, Drawable]) -> Diagram:
    """Draw several routes, one under the other, each under its name.

    Args:
        routes: By name, at least one.

    Raises:
        DrawingError: No routes, or one that cannot be drawn.
    """
    if not routes:
        raise DrawingError("there is nothing to draw: expected at least one route")
    canvas = Canvas()
    widest, y = 0.0, 10.0
    for name, route in routes.items():
        canvas.text(_GAP, y + 8, name, size=14, anchor="start")
        width, y = _draw(canvas, route, y + 26)
        widest = max(widest, width)
    words = "; ".join(f"{name}: {route}" for name, route in routes.items())
    return canvas.diagram(widest, y, f"Routes. {words}.")


def in_words(route: Drawable) -> str:
    """Describe a route in words."""
    said = [_part_in_words(part, route.n_layers) for part in _joined(parts(route))]
    text = f"The route {route} of a model with {route.n_layers} layers: the embeddings, then {', then '.join(said)}."
    gone = _never_run(route)
    return text + (f" Never run: {_spans(gone)}." if gone else "")


def _draw(canvas: Canvas, route: Drawable, y: Length) -> tuple[Length, Length]:
    """Draw a route from the height y on; give its width and where it ends."""
    pieces = [_text_piece("embed"), *_pieces(parts(route), route.n_layers), _text_piece("unembed")]
    rows = list(_rows(pieces))
    end: tuple[Length, Length] | None = None
    for row in rows:
        line = y + max(piece.up for piece in row)
        if end is not None:
            _turn(canvas, end, y - 8, line)
        end = (_draw_pieces(canvas, row, _GAP + 8, line), line)
        y = line + max(piece.down for piece in row) + _GAP
    gone = _never_run(route)
    if gone:
        canvas.text(_GAP, y + 4, f"never run: {_spans(gone)}", size=12, anchor="start", ink=SOFT)
        y += _GAP
    return max(_WIDTH, *(2 * _GAP + sum(p.width + _GAP for p in row) for row in rows)), y + 4


def _never_run(route: Drawable) -> list[int]:
    return sorted(set(range(route.n_layers)) - {visit.layer for visit in route.visits()})


# ---- pieces --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """Something on the line: how wide, how far up and down from the line, and how it is drawn from x on."""

    width: Length
    up: Length
    down: Length
    draw: Callable[[Canvas, Length, Length], None]


def _pieces(stretches: Sequence[Part], n_layers: int) -> Iterator[_Piece]:
    boxes = sum(len(step.layers[: 2 * _END_MEMBERS]) for part in stretches for step in part.steps)
    shorten = boxes > _MANY
    plain: list[Step] = []
    for part in (*stretches, None):
        if part is not None and part.times == 1:
            plain += part.steps
            continue
        drawn = list(_sequence(plain, n_layers, shorten))
        boxes += len(drawn) - sum(len(step.layers) == 1 for step in plain)
        yield from drawn
        plain = []
        if part is not None:
            yield _looped(list(_sequence(part.steps, n_layers, shorten)), part.times)
    if boxes > MOST_BOXES:
        raise DrawingError(f"a diagram of {boxes:,} boxes cannot be read: expected {MOST_BOXES:,} or fewer. Print it")


def _sequence(steps: Sequence[Step], n_layers: int, shorten: bool) -> Iterator[_Piece]:
    """Steps one after the other; if shortened, a stretch of layers in order is a single box."""
    at = 0
    while at < len(steps):
        end = at + steps_in_order(steps, at) if shorten else at + 1
        if end - at > 3:
            yield _box(f"{steps[at]} … {steps[end - 1]}", _shade(steps[at].layers[0], n_layers), 3 * _BOX)
        else:
            end = at + 1
            yield _step(steps[at], n_layers)
        at = end


def _step(step: Step, n_layers: int) -> _Piece:
    if len(step.layers) == 1:
        return _box(str(step.layers[0]), _shade(step.layers[0], n_layers), _BOX)
    return _group(step, n_layers)


def _text_piece(text: str) -> _Piece:
    width = 8.5 * len(text)
    return _Piece(width, 10, 10, lambda canvas, x, y: canvas.text(x + width / 2, y, text, ink=SOFT))


def _box(label: str, fill: str, width: Length) -> _Piece:
    return _Piece(
        width,
        _HEIGHT / 2,
        _HEIGHT / 2,
        lambda canvas, x, y: canvas.box(x, y - _HEIGHT / 2, width, _HEIGHT, fill, label),
    )


def _group(step: Step, n_layers: int) -> _Piece:
    """Members above each other, all fed from one point; a node where they meet."""
    members: list[int | None] = list(step.layers)
    if len(members) > _MOST_MEMBERS:  # the middle of a large group is named, not drawn
        members = [*members[:_END_MEMBERS], None, *members[-_END_MEMBERS:]]
    pitch = _HEIGHT + _BETWEEN
    half = len(members) * pitch / 2
    fan, radius = 22, 11

    def draw(canvas: Canvas, x: Length, y: Length) -> None:
        for i, layer in enumerate(members):
            middle = y - half + (i + 0.5) * pitch
            if layer is None:
                canvas.text(x + fan + _BOX / 2, middle, f"{len(step.layers) - 2 * _END_MEMBERS} more", 11, ink=SOFT)
                continue
            left, right = x + fan, x + fan + _BOX
            canvas.path(f"M{x:g} {y:g}C{x + fan / 2:g} {y:g} {x + fan / 2:g} {middle:g} {left:g} {middle:g}")
            canvas.path(
                f"M{right:g} {middle:g}C{right + fan / 2:g} {middle:g} {right + fan / 2:g} {y:g} {right + fan:g} {y:g}"
            )
            canvas.box(left, middle - _HEIGHT / 2, _BOX, _HEIGHT, _shade(layer, n_layers), str(layer))
        canvas.node(x + 2 * fan + _BOX + radius, y, radius, "x̄" if step.merge == "mean" else "Σ")

    return _Piece(2 * fan + _BOX + 2 * radius, half, half, draw)


def _looped(members: Sequence[_Piece], times: int) -> _Piece:
    """A frame around what is repeated, and an arrow from its end back to its beginning."""
    pad = 8
    inner = sum(piece.width for piece in members) + _GAP * (len(members) - 1)
    up, down = max(piece.up for piece in members) + pad, max(piece.down for piece in members) + pad
    width = inner + 2 * pad

    def draw(canvas: Canvas, x: Length, y: Length) -> None:
        canvas.frame(x, y - up, width, up + down)
        _draw_pieces(canvas, members, x + pad, y)
        top = y - up
        # from the right end, over the top, to the left end; the head points down into the frame
        right, left, over = x + width - 8, x + 8, top - 11
        canvas.path(f"M{right:g} {top:g}V{over + 6:g}q0 -6 -6 -6H{left + 6:g}q-6 0 -6 6V{top - 3:g}")
        canvas.path(f"M{left:g} {top:g}l-4 -7h8z", fill="#1c1e21", width=0.5)
        label = f"×{times}"
        middle, half = x + width / 2, 4.5 * len(label)
        canvas.path(f"M{middle - half:g} {over:g}H{middle + half:g}", width=14, ink="#fff")
        canvas.text(middle, over, label, size=12)

    return _Piece(width, up + _ABOVE, down, draw)


# ---- rows ----------------------------------------------------------------------------------------------------------


def _rows(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """As many pieces a row as fit."""
    row: list[_Piece] = []
    for piece in pieces:
        if row and sum(p.width + _GAP for p in (*row, piece)) + 2 * _GAP > _WIDTH:
            yield row
            row = []
        row.append(piece)
    yield row


def _draw_pieces(canvas: Canvas, pieces: Sequence[_Piece], x: Length, y: Length) -> Length:
    places: list[tuple[Length, Length]] = []
    for piece in pieces:
        piece.draw(canvas, x, y)
        places.append((x, x + piece.width))
        x += piece.width + _GAP
    for (_, end), (start, _) in pairwise(places):
        canvas.arrow(end + 1, y, start - 1)
    return places[-1][1]


def _turn(canvas: Canvas, end: tuple[Length, Length], between: Length, y: Length) -> None:
    """The line from the end of a row, between the rows, to the beginning of the next."""
    x, before = end
    left = 8
    canvas.path(f"M{x + 1:g} {before:g}h9V{between:g}H{left:g}V{y:g}H{_GAP + 2:g}", ink=SOFT)
    canvas.head(_GAP + 7, y, SOFT)


def _shade(layer: int, n_layers: int) -> str:
    share = layer / max(1, n_layers - 1)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_FIRST, _LAST, strict=True))


# ---- words ---------------------------------------------------------------------------------------------------------


def _joined(stretches: Sequence[Part]) -> Iterator[Part]:
    """Parts that run once, as one."""
    plain: list[Step] = []
    for part in stretches:
        if part.times == 1:
            plain += part.steps
            continue
        if plain:
            yield Part(tuple(plain))
        plain = []
        yield part
    if plain:
        yield Part(tuple(plain))


def _part_in_words(part: Part, n_layers: int) -> str:
    if len(part.steps) == 1 and len(part.steps[0].layers) > 1:
        step = part.steps[0]
        merged = "averaged" if step.merge == "mean" else "their updates added"
        said = f"layers {_spans(step.layers)} in parallel, {merged}"
    else:
        plural = "" if len(part.steps) == 1 else "s"
        said = f"layer{plural} {notation(part.steps)}"
    return said + (f", {part.times} times" if part.times > 1 else "")


def _spans(layers: Sequence[int]) -> str:
    """Ascending layers as ranges: 1–3, 5."""
    runs = ascending_runs(layers)
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)
