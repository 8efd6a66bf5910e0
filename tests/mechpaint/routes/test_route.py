from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechpaint.errors import RouteError
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step, Visit

N = 18


@st.composite
def steps(draw, n_layers=N):
    if draw(st.booleans()):
        return Step((draw(st.integers(0, n_layers - 1)),))
    layers = draw(st.lists(st.integers(0, n_layers - 1), min_size=1, max_size=5, unique=True))
    return Step(tuple(layers), draw(st.sampled_from(["mean", "sum"])))


def routes(n_layers=N):
    several = st.lists(st.tuples(steps(n_layers), st.integers(1, 4)), min_size=1, max_size=12)
    return several.map(lambda repeated: Route(tuple(s for step, times in repeated for s in [step] * times), n_layers))


@given(routes())
def test_printing_and_parsing_give_the_route_back(route):
    assert Route.parse(str(route), N) == route


@given(routes())
def test_layer_calls_are_the_visits(route):
    visits = list(route.visits())
    assert len(visits) == len(set(visits)) == route.layer_calls
    assert [v.step for v in visits] == sorted(v.step for v in visits)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-17", list(range(18))),
        ("0-3 13-4 14-17", [0, 1, 2, 3, *range(13, 3, -1), 14, 15, 16, 17]),
        ("0-3 14-17", [0, 1, 2, 3, 14, 15, 16, 17]),
        ("0-3 9x10 14-17", [0, 1, 2, 3, *[9] * 10, 14, 15, 16, 17]),
        ("0-3 (4-13) 14-17", [0, 1, 2, 3, tuple(range(4, 14)), 14, 15, 16, 17]),
        ("0-3 (4-13)x3 14-17", [0, 1, 2, 3, *[tuple(range(4, 14))] * 3, 14, 15, 16, 17]),
        ("0-3 [4 5]x2 6-17", [0, 1, 2, 3, 4, 5, 4, 5, *range(6, 18)]),
        ("[0 [1 2]x2]x2", [0, 1, 2, 1, 2, 0, 1, 2, 1, 2]),
        ("  0\t1\n2 ", [0, 1, 2]),
        ("(7)", [7]),
        ("(5 4)", [(4, 5)]),
    ],
)
def test_notation(text, expected):
    assert Route.parse(text, N) == Route.of(expected, N)


def test_summed_groups():
    route = Route.parse("0-3 (4+5) (6+7) 8-17", N)
    assert route.steps[4:6] == (Step((4, 5), "sum"), Step((6, 7), "sum"))
    assert Route.parse("(5+4)", N) == Route.parse("(4+5)", N) != Route.parse("(4 5)", N)


@pytest.mark.parametrize(
    ("text", "caret", "words"),
    [
        ("", 0, "empty"),
        ("   ", 3, "empty"),
        ("0-3 (4-x) 14", 7, "last layer of the range"),
        ("0-18", 2, "layer from 0 to 17"),
        ("0 99999999999999999999", 2, "layer from 0 to 17"),
        ("(4 4)", 3, "in the group already"),
        ("(4+5 6)", 5, "either averaged or summed"),
        ("(4 5+6)", 4, "either averaged or summed"),
        ("( )", 2, "group is empty"),
        ("[ ]x2", 1, "sequence is empty"),
        ("[0 1", 0, "never closed"),
        ("0 (4", 2, "never closed"),
        ("0-3x2", 3, "[0-3]x… for the sequence, or (0-3)x… for the average"),
        ("4x0", 2, "from 1"),
        ("4x", 2, "how many times"),
        ("4 5)", 3, "space between steps"),
        ("0,1", 1, "space between steps"),
        ("4y", 1, "space between steps"),
        ("-1", 0, "layer number"),
        ("٣", 0, "layer number"),
        ("[[[0x99999]x99999]x99999]x99999", 2, "at most"),
    ],
)
def test_errors_show_where_and_what_was_expected(text, caret, words):
    with pytest.raises(RouteError) as error:
        Route.parse(text, N)
    message = str(error.value)
    assert words in message
    assert message.splitlines()[-1] == "  " + " " * caret + "^"


@given(st.text(alphabet="0123456789-x()[]+ ,y", max_size=30))
def test_any_text_is_a_route_or_a_clear_error(text):
    try:
        route = Route.parse(text, N)
    except RouteError as error:
        message = str(error)
    else:
        assert Route.parse(str(route), N) == route
        return
    assert "expected" in message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Route((), 3), "empty"),
        (lambda: Route.of([3], 3), "layers 0 to 2"),
        (lambda: Step(()), "at least one layer"),
        (lambda: Step((-1,)), "count from 0"),
        (lambda: Step((1, 1)), "twice"),
        (lambda: Route.identity(6).without(0, 5), "empty"),
        (lambda: Route.identity(6).without(2, 9), "layers 0 to 5"),
        (lambda: Route.identity(6).without(4, 2), "first to its last"),
        (lambda: Route.identity(6).without(2, 3).span(2, 3), "is on the route"),
        (lambda: Route.parse("0 5 1 4", 6).span(0, 1), "do not stand together"),
        (lambda: Route.parse("(0 5) 1", 6).span(0, 1), "do not stand together"),
    ],
)
def test_impossible_routes(make, words):
    with pytest.raises(RouteError, match=words):
        make()


def test_routes_are_values():
    assert Route.of([0, (2, 1)], 3) == Route.of([0, (1, 2)], 3)
    assert hash(Route.identity(4)) == hash(Route.of(range(4), 4))
    assert Step((3,), "sum") == Step((3,))
    assert Route.identity(4).is_identity
    assert not Route.identity(4).without(1, 1).is_identity
    with pytest.raises(AttributeError):
        Route.identity(4).steps = ()  # type: ignore[misc]
    assert Visit(0, 5) < Visit(1, 0)
    assert repr(Route.identity(4)) == 'Route("0-3", n_layers=4)'


def test_repeated_groups_print_as_repeats():
    assert str(Route.parse("0-3 [(4-13)]x3 14-17", N)) == "0-3 (4-13)x3 14-17"
    assert str(Route.parse("0 (1 3-4 9) 5", N)) == "0 (1 3-4 9) 5"
