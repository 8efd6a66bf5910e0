"""The types and shapes in mechpaint's signatures are checked while its tests run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jaxtyping
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from mechpaint.routes.route import Route
from mechpaint.toy.construction import outer_products


def _under_check(thing):
    return jaxtyping.jaxtyped(typechecker=beartype)(thing)


@pytest.fixture
def unchecked():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_types():
    with pytest.raises(TypeCheckError, match="text"):
        Route.parse(3, 18)


def test_shapes_agree_between_arguments():
    assert outer_products(torch.ones(2, 3), torch.ones(2, 4)).shape == (3, 4)
    with pytest.raises(TypeCheckError):
        outer_products(torch.ones(2, 3), torch.ones(3, 4))


def test_what_is_returned():
    @_under_check
    def half(x: int) -> int:
        return x / 2

    with pytest.raises(TypeCheckError, match="half"):
        half(3)


def test_fields_of_dataclasses_and_those_that_inherit_them():
    @_under_check
    @dataclass
    class Point:
        x: int

    @_under_check
    class Named(Point):
        pass

    for kind in (Point, Named):
        assert kind(2).x == 2
        with pytest.raises(TypeCheckError):
            kind("2")


def test_generators():
    @_under_check
    def upto(end: int) -> Iterator[int]:
        got = yield 0
        yield from range(end)
        yield got

    steps = upto(2)
    assert [next(steps), steps.send("a"), *steps] == [0, 0, 1, "a"]
    with pytest.raises(TypeCheckError):
        list(upto("2"))


def test_names_that_exist_for_type_checkers_alone_are_let_through():
    @_under_check
    def anything(x: Nowhere, y: int = 0) -> Nowhere:
        return x

    assert anything(3) == 3
    with pytest.raises(TypeCheckError):
        anything(3, "4")


def test_shapes_within_other_types_and_the_switch(unchecked):
    @_under_check
    def first(rows: list[Float[Tensor, "n"]], count: int = 1) -> Float[Tensor, "n"]:
        return rows[0]

    assert first(["row"], "one") == "row"
    jaxtyping.config.update("jaxtyping_disable", False)
    with pytest.raises(TypeCheckError):
        first([torch.ones(2, 2)])
