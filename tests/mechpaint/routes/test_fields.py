"""Whatever is given to a hook set or a route, it is one, or an error that says what was expected."""

from __future__ import annotations

import inspect

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mechpaint as mp
from mechpaint.engine.arguments import as_hook_set
from mechpaint.errors import HookSetError, InputError, RouteError
from mechpaint.hooks import BUILT_IN, Duplicate, Loop, Read, ReadAttention, ReadResidual, Reroute, Shuffle, Skip

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.lists(st.integers(-2, 20), max_size=4),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from(
        [10**22, 10**5000, np.int64(3), np.array([1, 2]), torch.tensor(2), object(), range(3), {1, 2}, Skip]
    ),
)


@given(st.sampled_from(BUILT_IN), st.lists(ODD, max_size=4))
def test_any_arguments_make_a_hook_set_or_an_error(kind, arguments):
    try:
        inspect.signature(kind).bind(*arguments)
    except TypeError:  # another number of arguments
        return
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        _survives(kind(*arguments))
    except InputError:
        pass
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def _survives(made):
    """It is printed and read again, compared, and gives a route that is none too long, or none."""
    assert str(as_hook_set(str(made))) == str(made)
    hash(made)
    assert 1 <= len(made.route(18).steps) <= 100_000


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Skip("a", 2), "'first' of skip must be an integer, got 'a'"),
        (lambda: Skip(True, 2), "must be an integer, got True"),
        (lambda: Reroute(4), "'target' of reroute must be a text or a route, got 4"),
        (lambda: Loop(13, 13, 10**22), "must be an integer of 64 bits"),
        (lambda: Loop(13, 13, 10**5000), "must be an integer of 64 bits, got <int>"),
        (lambda: Duplicate(1, 1.5), "'times' of duplicate must be an integer, got 1.5"),
        (lambda: Read({}, 1), "'point' of read must be a text, got {}"),
        (lambda: ReadAttention({}), "'layers' of read_attention must be an integer, or a sequence of integers"),
        (lambda: ReadAttention("12"), "must be an integer, or a sequence of integers"),
        (lambda: ReadResidual([]), "must be an integer, or a sequence of integers"),
        (lambda: ReadResidual([1, 1.5]), "must be an integer, or a sequence of integers"),
        (lambda: Shuffle(1, 2, None), "'seed' of shuffle must be an integer, got None"),
    ],
)
def test_fields_are_checked_when_a_hook_set_is_made(make, said, as_users_run):
    with pytest.raises(HookSetError, match=said):
        make()


@pytest.mark.parametrize(
    ("given", "layers"),
    [(5, (5,)), (np.int64(5), (5,)), ([1, 2], (1, 2)), (range(2), (0, 1)), (np.array([3]), (3,)), (None, None)],
)
def test_layers_are_one_or_several(given, layers, as_users_run):
    made = ReadAttention(given)
    assert made.layers == layers
    assert made == as_hook_set(str(made))
    assert hash(made) == hash(ReadAttention(layers))


def test_routes_too_long_are_refused_before_they_are_made():
    for make in (
        lambda: Loop(1, 2, 2**62).route(6),
        lambda: (Loop(1, 2, 40_000) + Loop(1, 2, 2)).route(6),
        lambda: (Duplicate(1, 90_000) + Duplicate(1, 90_000)).route(6),
        lambda: mp.Route.identity(10**12),
        lambda: mp.Route(tuple([mp.Step((0,))] * 100_001), 1),
    ):
        with pytest.raises(RouteError, match="at most 100,000 steps"):
            make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: mp.Step(("a",)),
        lambda: mp.Step((1.5,)),
        lambda: mp.Step(5),
        lambda: mp.Step((True,)),
        lambda: mp.Route([1, 2], 4),
        lambda: mp.Route(5, 4),
        lambda: mp.Route.of(["a"], 4),
        lambda: mp.Route.of([1.5], 4),
        lambda: mp.Route.identity("a"),
        lambda: mp.Route.identity(None),
        lambda: mp.Route.parse(5, 4),
        lambda: mp.Route.parse("0", "4"),
    ],
)
def test_routes_are_made_of_integers(make, as_users_run):
    with pytest.raises(RouteError):
        make()


WORDS = st.sampled_from(
    [
        *(kind.text_name() for kind in BUILT_IN),  # and pieces of Python
        *"()[]{}*,+=:'\"# \n\t\\\0é\ud800",
        *(
            "**",
            "0",
            "1",
            "13",
            "-1",
            "1.5",
            "1e9",
            "10000000000000000000000",
            "None",
            "True",
            "first",
            "last",
            "times",
        ),
        *("layers", "x", "if", "else", "lambda", "0-17", "(4-13)x3", "f'", "b'"),
    ]
)


def _value_or_input_error(text):
    try:
        made = as_hook_set(text)
    except InputError:
        return
    assert str(as_hook_set(str(made))) == str(made)


@settings(max_examples=400)
@given(st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=14).map("".join), st.lists(WORDS).map(" ".join)))
@example("skip(1, 2, **{'a': 1})")
@example("skip(first=1, first=2, last=3)")
@example("skip({[]: 1}, 2)")
@example("skip(*[1, 2])")
@example("skip(1if 2else 3, 4)")
@example("skip(1, 2)" + " + skip(1, 2)" * 3000)
@example("skip(" + "(" * 300 + "1" + ")" * 300 + ", 2)")
@example("reroute('" + "[" * 500 + "0" + "]" * 500 + "')")
@example("skip(1, " + "9" * 5000 + ")")
def test_any_text_is_a_hook_set_or_an_input_error(text):
    _value_or_input_error(text)


@pytest.mark.slow
def test_a_million_texts_are_hook_sets_or_input_errors():
    import random

    rng = random.Random(0)
    words = [*(kind.text_name() + "(" for kind in BUILT_IN), *"()[]{},+=*'\"0123456789.-x ", "None", "True", "layers="]
    for _ in range(1_000_000):
        _value_or_input_error("".join(rng.choices(words, k=rng.randrange(1, 12))))
