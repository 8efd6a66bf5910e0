"""The notations of visits and heads, and which visits of a route they are."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mechpaint.errors import HookSetError, InputError
from mechpaint.hooks import Ablate, Read, ReadResidual
from mechpaint.routes.heads import Heads
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from mechpaint.routes.visits import Visits, nth, one_of, visit_of

ROUTE = Route.parse("0-1 (2-3) 5 2 5x2", 6)
EVERY = list(ROUTE.visits())
TEXTS = st.text(alphabet="0123456789#@-.,* x", max_size=12)


@pytest.mark.parametrize(
    ("selection", "visits"),
    [
        (None, EVERY),
        ("*", EVERY),
        (5, [(3, 5), (5, 5), (6, 5)]),
        ("5", [(3, 5), (5, 5), (6, 5)]),
        ("5#2", [(5, 5)]),
        ("5#-1", [(6, 5)]),
        ("5#-3", [(3, 5)]),
        ("@2", [(2, 2), (2, 3)]),
        ("2@4", [(4, 2)]),
        ("0-3", [(0, 0), (1, 1), (2, 2), (2, 3), (4, 2)]),
        ("2-3#1", [(2, 2), (2, 3)]),
        ("5#2, 0", [(0, 0), (5, 5)]),
        ([5, 0], [(0, 0), (3, 5), (5, 5), (6, 5)]),
        ([Visit(4, 2), "0"], [(0, 0), (4, 2)]),
        (Visit(2, 3), [(2, 3)]),
        (lambda visit: visit.step > 4, [(5, 5), (6, 5)]),
    ],
)
def test_which_visits(selection, visits):
    expected = tuple(visit if isinstance(visit, Visit) else Visit(*visit) for visit in visits)
    assert Visits.read(selection).of(ROUTE) == expected


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("5#4", "has no visit 5#4: of layer 5 there are 5@3, 5@5, 5@6"),
        ("5#-4", "of layer 5 there are 5@3, 5@5, 5@6"),
        ("5@4", "of layer 5 there are 5@3, 5@5, 5@6"),
        ("@7", "its steps are 0 to 6"),
        ("4", "layer 4 never runs"),
        ("4#1", "layer 4 never runs there"),
        ("3-4", "layer 4 never runs"),
        ("9", "layer 9"),
        (Visit(0, 5), "of layer 5 there are 5@3"),
        (lambda visit: False, "lets no visit"),
    ],
)
def test_visits_that_a_route_does_not_make_are_refused_with_those_that_it_makes(selection, said):
    with pytest.raises(InputError, match=said):
        Visits.read(selection).of(ROUTE)


@pytest.mark.parametrize("given", ["", "x", "5#0", "5##1", "7-4", "5#1@2", "5,", "1" * 9, [], True, 1.5, -1, [None]])
def test_what_is_no_selection_is_refused(given):
    with pytest.raises(HookSetError, match=r"such as 5|as 4-7|from #1|layers count from 0"):
        Visits.read(given)


def test_layers_or_visits_and_not_both():
    with pytest.raises(HookSetError, match="not both"):
        one_of([1], "5#2")
    assert one_of([1], None) == Visits.read(1)
    assert one_of(None, None).is_every


def test_the_how_manieth_time():
    for number, visit in enumerate([Visit(3, 5), Visit(5, 5), Visit(6, 5)], start=1):
        assert nth(ROUTE, visit) == number
        assert visit_of(ROUTE, 5, number) == visit == visit_of(ROUTE, 5, number - 4)


@given(TEXTS)
@example("5#2, 4-7, *, @3, 5@3")
def test_any_text_is_visits_that_survive_printing_or_an_error(text):
    try:
        made = Visits.read(text)
    except HookSetError:
        return
    assert Visits.read(str(made)) == made


@given(TEXTS)
@example("5.2, 9#2.0-3, *.1, @3.0")
def test_any_text_is_heads_that_survive_printing_or_an_error(text):
    try:
        made = Heads.read(text)
    except HookSetError:
        return
    assert Heads.read(str(made)) == made


ITEMS = st.one_of(
    st.integers(0, 30).map(str),
    st.tuples(st.integers(0, 9), st.integers(9, 20)).map(lambda ends: f"{ends[0]}-{ends[1]}"),
    st.tuples(st.integers(0, 30), st.integers(-3, 3).filter(bool)).map(lambda pair: f"{pair[0]}#{pair[1]}"),
    st.integers(0, 30).map("@{}".format),
    st.just("*"),
)


@given(st.lists(ITEMS, min_size=1, max_size=4).map(", ".join))
def test_visits_are_printed_as_they_are_written(text):
    made = Visits.read(text)
    assert Visits.read(str(made)) == made
    assert len(made.items) == text.count(",") + 1


@given(st.lists(st.tuples(ITEMS, st.integers(0, 40)), min_size=1, max_size=4))
def test_heads_are_printed_as_they_are_written(pairs):
    made = Heads.read(", ".join(f"{visits}.{head}" for visits, head in pairs))
    assert Heads.read(str(made)) == made
    assert {(str(visits), head) for visits, heads in made.parts for head in heads} == {
        (str(Visits.read(visits)), head) for visits, head in pairs
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("5.2", "5.2"),
        ("5.1-3", "5.1, 5.2, 5.3"),
        ("5#2.0, 5#2.1", "5#2.0, 5#2.1"),
        ([(5, 2), (Visit(3, 5), 1)], "5.2, 5@3.1"),
        ((5, 2), "5.2"),
    ],
)
def test_heads(given, text):
    assert str(Heads.read(given)) == text


@pytest.mark.parametrize(
    "given", ["", "5", "5.", ".2", "5.x", "5.3-1", [], [(5,)], [(5, -1)], [(5, True)], [5, 2, 3], 7]
)
def test_what_names_no_heads_is_refused(given):
    with pytest.raises(HookSetError, match=r"5\.2|from 0|lowest to the highest"):
        Heads.read(given)


def test_a_filter_has_no_text_form_and_says_so():
    made = ReadResidual(visits=lambda visit: visit.step > 3)
    assert "<* that pass" in str(made)
    assert str(ReadResidual(visits="5#2")) == "read_residual(visits='5#2')"
    assert str(Ablate(heads="5.2", mlp=3)) == "ablate(heads='5.2', mlp='3')"
    assert str(Read("hook_out", visits=[5, "@7"])) == "read('hook_out', visits='5, @7')"
