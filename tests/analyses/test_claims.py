from __future__ import annotations

from mechpaint.analyses.claims import disambiguate


def test_names_that_come_twice_are_numbered():
    assert disambiguate(["a", "b", "a", "a"]) == ["a (1)", "b", "a (2)", "a (3)"]
    assert disambiguate([]) == []
