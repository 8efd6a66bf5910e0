"""Routes as pictures: every box where it belongs, whatever the route."""

from __future__ import annotations

import random
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechpaint.circuits import route_diagram, routes_diagram
from mechpaint.errors import DrawingError
from mechpaint.routes.diagram import parts
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step

N = 12


@st.composite
def _steps(draw):
    layers = draw(st.lists(st.integers(0, N - 1), min_size=1, max_size=4, unique=True))
    return Step(tuple(layers), draw(st.sampled_from(["mean", "sum"])))


ROUTES = st.lists(_steps(), min_size=1, max_size=30).map(lambda steps: Route(tuple(steps), N))
LOOPS = st.tuples(st.lists(_steps(), min_size=1, max_size=4), st.integers(2, 5)).map(
    lambda loop: Route(tuple(loop[0]) * loop[1], N)
)


def _drawn(route):
    """Texts, boxes as (x, y, width, height), frames, and the size of a picture."""
    root = ElementTree.fromstring(route_diagram(route).svg)
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    rects = [rect.attrib for rect in root.iter(f"{space}rect") if "x" in rect.attrib]
    sizes = [tuple(float(r[k]) for k in ("x", "y", "width", "height")) for r in rects]
    boxes = [size for size, r in zip(sizes, rects, strict=True) if r["fill"] != "none"]
    frames = [size for size, r in zip(sizes, rects, strict=True) if r["fill"] == "none"]
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    return texts, boxes, frames, (width, height)


def _labels(texts):
    return [int(text) for text in texts if re.fullmatch(r"\d+", text)]


@given(st.one_of(ROUTES, LOOPS))
def test_parts_give_the_route_back(route):
    assert tuple(step for part in parts(route) for step in part.steps * part.times) == route.steps


@pytest.mark.parametrize(
    ("route", "loops"),
    [
        ("0-11", [(1, 1)] * 12),
        ("0-3 9x10 10-11", [(1, 1)] * 4 + [(1, 10)] + [(1, 1)] * 2),
        ("0 [4 5]x2 6", [(1, 1), (2, 2), (1, 1)]),
        ("0 (1-3)x3 4", [(1, 1), (1, 3), (1, 1)]),
        ("[0 1 0 1 2]x2", [(5, 2)]),  # the longer loop, although 0 1 comes twice at once
        ("0 1 0", [(1, 1)] * 3),
    ],
)
def test_loops_are_found(route, loops):
    assert [(len(part.steps), part.times) for part in parts(Route.parse(route, N))] == loops


@given(st.one_of(ROUTES, LOOPS))
def test_every_layer_has_its_box_and_no_two_are_in_one_place(route):
    texts, boxes, frames, (width, height) = _drawn(route)
    expected = [layer for part in parts(route) for step in part.steps for layer in step.layers]
    gone = sorted(set(range(N)) - {visit.layer for visit in route.visits()})
    assert _labels(texts) == expected
    assert len(boxes) == len(expected)
    assert [t for t in texts if t.startswith("×")] == [f"×{part.times}" for part in parts(route) if part.times > 1]
    assert len(frames) == sum(part.times > 1 for part in parts(route))
    assert any(text.startswith("never run") for text in texts) is bool(gone)
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for other_x, other_y, other_w, other_h in boxes[:i]:
            assert x >= other_x + other_w or other_x >= x + w or y >= other_y + other_h or other_y >= y + h


def test_the_painters_variants():
    texts, *_ = _drawn(Route.parse("0-3 (4-8)x3 9-11", N))
    assert texts == ["embed", *"0123", *"45678", "x̄", "×3", "9", "10", "11", "unembed"]
    texts, *_ = _drawn(Route.parse("0-3 (4+5) 6 9-11", N))
    assert texts[5:8] == ["4", "5", "Σ"]
    assert texts[-1] == "never run: 7–8"


def test_the_words_say_the_same():
    assert route_diagram(Route.parse("0-3 (4-8)x3 11", N)).alt == (
        "The route 0-3 (4-8)x3 11 of a model with 12 layers: the embeddings, then layers 0-3, then layers 4–8 in "
        "parallel, averaged, 3 times, then layer 11. Never run: 9–10."
    )
    assert "layers 4–5, 9 in parallel, their updates added" in route_diagram(Route.parse("(4+5+9)", N)).alt


def test_large_models():
    texts, boxes, *_ = _drawn(Route.parse("0-3 (4-63) 64-79", 80))
    assert "50 more" in texts  # of the 60 in parallel, five at each end are drawn
    assert _labels(texts) == [*range(4), *range(4, 9), *range(59, 64), *range(64, 80)]
    texts, boxes, *_ = _drawn(Route.parse("0-299 299-0", 300))
    assert "0 … 298" in texts or "0 … 299" in texts
    assert len(boxes) < 10


def test_what_nobody_could_read_is_refused():
    steps = random.Random(0).choices(range(300), k=3000)
    with pytest.raises(DrawingError, match="boxes cannot be read"):
        route_diagram(Route.of(steps, 300))


def test_saved(tmp_path):
    path = route_diagram(Route.identity(3)).save(tmp_path / "route.svg")
    assert ElementTree.parse(path).getroot().attrib["aria-label"].startswith("The route 0-2")
    assert [p.name for p in tmp_path.iterdir()] == ["route.svg"]


def test_several_under_each_other():
    routes = {"skip": Route.parse("0-3 9-11", N), "<loop>": Route.parse("0-3 (4-8)x3 9-11", N)}
    diagram = routes_diagram(routes)
    root = ElementTree.fromstring(diagram.svg)
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    alone = [_drawn(route)[0] for route in routes.values()]
    assert texts == ["skip", *alone[0], "<loop>", *alone[1]]
    assert diagram.alt == "Routes. skip: 0-3 9-11; <loop>: 0-3 (4-8)x3 9-11."
    with pytest.raises(DrawingError, match="nothing to draw"):
        routes_diagram({})
