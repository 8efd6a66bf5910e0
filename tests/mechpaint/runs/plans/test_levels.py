"""The level of a graded task is tried once for a model, and kept."""

from __future__ import annotations

import pytest

from mechpaint.runs.plans import levels
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.tasks import Counting, Facts


@pytest.fixture
def tried(monkeypatch, tmp_path):
    """The levels that were tried; the model can count by ones, tens and twos. Nothing is kept yet."""
    tried = []

    def is_done_by(self, model):
        tried.append(self.level)
        return self.level in (1, 10, 2)

    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Counting, "is_done_by", is_done_by)
    return tried


def test_a_level_is_tried_once_and_tasks_of_their_own_level_never(speaking, tried):
    model = RoutedModel(speaking, "tiny")
    asked = (Counting(), Facts(), Counting(level=7))
    assert levels.fitted(asked, model) == (Counting(level=2), Facts(), Counting(level=7))
    assert tried == [7, 3, 5, 2]
    assert levels.fitted(asked, model) == (Counting(level=2), Facts(), Counting(level=7))
    assert len(tried) == 4
    assert levels.fitted((Counting(shown=5),), model) == (Counting(level=2, shown=5),)
    assert len(tried) == 8


@pytest.mark.parametrize("content", ["", "{", "[]", '{"level": "2"}', '{"level": 0}'])
def test_what_is_damaged_is_tried_again(speaking, tried, tmp_path, content):
    model = RoutedModel(speaking, "tiny")
    levels.fitted((Counting(),), model)
    (kept,) = (tmp_path / "cache" / "levels").iterdir()
    kept.write_text(content)
    assert levels.fitted((Counting(),), model) == (Counting(level=2),)
    assert len(tried) == 8


def test_where_nothing_can_be_kept_it_is_tried_every_time(speaking, tried, tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    for _ in range(2):
        assert levels.fitted((Counting(),), RoutedModel(speaking, "tiny")) == (Counting(level=2),)
    assert len(tried) == 8
