"""The plugin's own tests: they need it installed, and no model."""

import random

import pytest
from mechpaint_example import Rotate, Rotations, Weekdays

from mechpaint import plugins
from mechpaint.errors import InputError, TaskError
from mechpaint.routes.hookset_text import parse_hook_set
from mechpaint.routes.route import Route


class Words:
    """A tokenizer with a token for each character, as a model would have it."""

    tokenizer = staticmethod(lambda text, add_special_tokens: {"input_ids": [ord(c) for c in text]})
    cfg = None


def test_mechpaint_knows_what_it_brings():
    registry = plugins.registry()
    assert registry.hook_sets["rotate"] is Rotate
    assert registry.tasks["weekdays"] is Weekdays
    assert registry.analyses["rotations"] is Rotations
    assert parse_hook_set("rotate(1, 3, by=2)", registry.hook_sets) == Rotate(1, 3, by=2)


@pytest.mark.parametrize(
    ("hook_set", "route"),
    [
        (Rotate(4, 7), "0-3 5-7 4 8-9"),
        (Rotate(4, 7, by=3), "0-3 7 4-6 8-9"),
        (Rotate(4, 7, by=-1), "0-3 7 4-6 8-9"),
        (Rotate(4, 7, by=4), "0-9"),
        (Rotate(4, 4), "0-9"),
        (Rotate(0, 9) + Rotate(0, 9), "2-9 0-1"),
    ],
)
def test_rotate(hook_set, route):
    assert hook_set.route(10) == Route.parse(route, 10)


@pytest.mark.parametrize(("step", "text", "answer"), [
    (1, "Saturday, Sunday, Monday,", " Tuesday"),
    (3, "Saturday, Tuesday, Friday,", " Monday"),
])  # fmt: skip
def test_weekdays(step, text, answer):
    items = list(Weekdays(step).generate(Words(), random.Random(0)))
    assert len({item.name for item in items}) == len(items) == 35
    (item,) = (item for item in items if item.name == text)
    assert "".join(map(chr, item.prompt)) == text
    assert "".join(map(chr, item.choices[item.answer])) == answer
    assert len(item.choices) == 7
    assert {i.answer for i in items} == set(range(7))


def test_the_step_is_the_argument_of_the_task():
    assert Weekdays.from_argument("2") == Weekdays(2)
    assert [str(Weekdays.from_argument(given)) for given in (None, "1", "6")] == ["weekdays", "weekdays", "weekdays:6"]
    for wrong in ("0", "7", "-1", "two"):
        with pytest.raises(TaskError, match="1 to 6"):
            Weekdays.from_argument(wrong)


def test_rotations_covers_every_stretch():
    routes = {label: str(hook_set.route(5)) for label, hook_set in Rotations(width=3).hook_sets(5).items()}
    assert routes == {"from 0": "1-2 0 3-4", "from 1": "0 2-3 1 4", "from 2": "0-1 3-4 2"}
    with pytest.raises(InputError, match="smaller width"):
        Rotations(width=6).hook_sets(5)
    with pytest.raises(InputError, match="2 layers or more"):
        Rotations(width=1)
