from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechpaint.errors import HookSetError, RouteError
from mechpaint.hooks import (
    Average,
    Duplicate,
    Fill,
    Hooks,
    Loop,
    Pair,
    Read,
    ReadAttention,
    ReadResidual,
    Reroute,
    Reverse,
    Shuffle,
    Skip,
    Swap,
)
from mechpaint.plugins import built_in
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.hookset_text import parse_hook_set
from mechpaint.routes.route import Route

N = 18
SETS = built_in().hook_sets
ranges = st.tuples(st.integers(0, N - 1), st.integers(0, N - 1)).map(sorted)


@pytest.mark.parametrize(
    ("hook_set", "text"),
    [
        (HookSet(), "0-17"),
        (Skip(4, 13), "0-3 14-17"),
        (Swap(4, 9), "0-3 9 5-8 4 10-17"),
        (Reverse(4, 13), "0-3 13-4 14-17"),
        (Duplicate(9, 10), "0-8 9x10 10-17"),
        (Fill(4, 13, 9), "0-3 9x10 14-17"),
        (Average(4, 13), "0-3 (4-13) 14-17"),
        (Average(4, 13) + Loop(4, 13, times=3), "0-3 (4-13)x3 14-17"),
        (Loop(4, 5, 2), "0-3 [4 5]x2 6-17"),
        (Pair(4, 7), "0-3 (4+5) (6+7) 8-17"),
        (Pair(4, 8), "0-3 (4+5) (6+7) 8-17"),
        (Reroute("0 5x2"), "0 5x2"),
        (Skip(0, 3) + Reverse(4, 17), "17-4"),
        (Average(4, 13) + Skip(5, 12), "0-3 (4 13) 14-17"),
        (Average(4, 13) + Swap(4, 17), "0-3 (5-13 17) 14-16 4"),
        (Reverse(4, 13) + Skip(6, 7), "0-3 13-8 5-4 14-17"),
        (Loop(4, 5, 2) + Loop(4, 5, 3), "0-3 [4 5]x6 6-17"),
        (Average(4, 5) + Duplicate(9, 2), "0-3 (4-5) 6-9 9 10-17"),
    ],
)
def test_reroutes(hook_set, text):
    assert hook_set.route(N) == Route.parse(text, N)


@given(ranges)
def test_reversing_twice_changes_nothing(bounds):
    assert (Reverse(*bounds) + Reverse(*bounds)).route(N) == Route.identity(N)


@given(st.integers(0, N - 1), st.integers(0, N - 1))
def test_swapping_twice_changes_nothing_and_is_symmetric(a, b):
    assert (Swap(a, b) + Swap(a, b)).route(N) == Route.identity(N)
    assert Swap(a, b).route(N) == Swap(b, a).route(N)


@given(ranges, st.integers(1, 3), st.integers(1, 3))
def test_loops_multiply(bounds, a, b):
    assert (Loop(*bounds, a) + Loop(*bounds, b)).route(N) == Loop(*bounds, a * b).route(N)


@given(ranges, st.integers(0, 10_000))
def test_shuffling_is_what_pythons_shuffle_does(bounds, seed):
    first, last = bounds
    order = list(range(first, last + 1))
    random.seed(seed)
    random.shuffle(order)
    assert Shuffle(first, last, seed).route(N) == Route.of([*range(first), *order, *range(last + 1, N)], N)


@given(ranges)
def test_averaging_twice_is_averaging_once(bounds):
    assert (Average(*bounds) + Average(*bounds)).route(N) == Average(*bounds).route(N)


def test_composition_is_associative_and_has_a_neutral_element():
    a, b, c = Reverse(2, 5), Average(2, 5), Loop(2, 5, 2)
    assert ((a + b) + c).route(N) == (a + (b + c)).route(N)
    assert (a + b) + c == a + (b + c)
    assert HookSet() + a == a == a + HookSet()
    assert HookSet() + HookSet() == HookSet()


def test_the_order_of_composition_matters():
    assert (Skip(0, 0) + Swap(0, 2)).route(3) == Route.of([1, 0], 3)
    assert (Swap(0, 2) + Skip(0, 0)).route(3) == Route.of([2, 1], 3)
    assert (Reverse(0, 1) + Duplicate(0, 2)).route(3) == Route.of([1, 0, 0, 2], 3)
    assert (Fill(0, 1, 2) + Swap(2, 0)).route(3) == Route.of([0, 0, 0], 3)
    assert (Swap(2, 0) + Fill(0, 0, 2)).route(3) == Route.of([2, 1, 2], 3)


@pytest.mark.parametrize(
    ("hook_set", "error", "words"),
    [
        (Skip(0, 17), RouteError, "empty"),
        (Skip(4, 18), RouteError, "layers 0 to 17"),
        (Skip(4, 7) + Average(4, 7), RouteError, "is on the route"),
        (Swap(0, 18), RouteError, "layers 0 to 17"),
        (Reverse(0, 5) + Swap(2, 9) + Reverse(0, 5), RouteError, "do not stand together"),
        (Average(4, 5) + Duplicate(4, 2), HookSetError, "no step of its own"),
        (Loop(4, 5, 2) + Average(4, 5), HookSetError, "run once"),
        (Pair(4, 5) + Average(4, 5), HookSetError, "summed"),
        (Duplicate(4, 2) + Pair(4, 4), HookSetError, "different from its partner"),
        (Average(4, 5) + Pair(4, 5), HookSetError, "step of its own"),
        (Reroute(Route.identity(3)), HookSetError, "made for 3 layers"),
        (Reroute("0-99"), RouteError, "layer from 0 to 17"),
        (Fill(0, 3, 18), RouteError, "layers 0 to 17"),
    ],
)
def test_what_does_not_fit_is_refused(hook_set, error, words):
    with pytest.raises(error, match=words):
        hook_set.route(N)


@pytest.mark.parametrize("make", [lambda: Loop(0, 1, 0), lambda: Duplicate(0, 0)])
def test_repeating_less_than_once_is_refused(make):
    with pytest.raises(HookSetError, match="1 time or more"):
        make()


@pytest.mark.parametrize(
    "hook_set",
    [
        Skip(4, 7),
        Average(4, 13) + Loop(4, 13, 3),
        HookSet(),
        ReadAttention(),
        ReadAttention(layers=[5]),
        ReadResidual((1, 2)),
        Read("mlp.hook_out", [3]),
        Reroute("0-3 (4-13)x3 14-17"),
        Swap(1, 2) + Shuffle(3, 9, 7) + Fill(1, 2, 0) + Pair(0, 3) + Duplicate(9, 2) + Reverse(10, 11),
    ],
)
def test_text_form_round_trip(hook_set):
    assert parse_hook_set(str(hook_set), SETS) == hook_set


def test_text_form_reads_names_and_keywords():
    assert parse_hook_set("average(4,13) + loop(4,13,times=3)", SETS) == Average(4, 13) + Loop(4, 13, 3)
    assert parse_hook_set("", SETS).route(N) == Route.identity(N)


@pytest.mark.parametrize(
    ("text", "caret", "words"),
    [
        ("skip(4", 4, "cannot read"),
        ("skip(4) ++", None, "cannot read"),
        ("skip(4)", 0, "skip(first, last)"),
        ("skip(1,2,3)", 0, "skip(first, last)"),
        ("skipp(1,2)", 0, "there is no hook set 'skipp' (did you mean skip?); there are: ablate"),
        ("skip(1,2) + nothing(3)", 12, "no hook set"),
        ("skip(1,2) - skip(3,4)", 0, "joined by '+'"),
        ("loop(1,2,0)", 0, "1 time or more"),
        ("skip(open('x'), 2)", 5, "cannot read the argument"),
        ("__import__('os').system('true')", 0, "calls joined by '+'"),
        ("skip", 0, "calls joined by '+'"),
        ("ü(1)", 0, "no hook set"),
    ],
)
def test_text_errors_show_where(text, caret, words):
    with pytest.raises(HookSetError) as error:
        parse_hook_set(text, SETS)
    assert words in str(error.value)
    if caret is not None:
        assert str(error.value).splitlines()[-1] == "  " + " " * caret + "^"


def test_every_built_in_is_registered_but_the_one_made_of_functions():
    import mechpaint.hooks

    registered = {hook_set.__name__ for hook_set in SETS.values()}
    assert registered == set(mechpaint.hooks.__all__) - {"Hooks"}
    assert Hooks([]).hooks() == ()
