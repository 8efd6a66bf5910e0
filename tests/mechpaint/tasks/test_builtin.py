from __future__ import annotations

import itertools
import json
import math

import pytest

import mechpaint as mp
from mechpaint.errors import LoadError, TaskError
from mechpaint.plugins import built_in
from mechpaint.tasks import (
    Arithmetic,
    CausalTask,
    Counting,
    Facts,
    Hops,
    IndirectObject,
    Induction,
    Item,
    Outcome,
    Text,
)
from mechpaint.tasks.builtin.relations import RELATIONS
from tests import tiny

TASKS = {name: task for name, task in built_in().tasks.items() if issubclass(task, CausalTask)}


@pytest.mark.parametrize("name", TASKS)
def test_items_are_many_distinct_and_decided_by_the_seed(speaking, name):
    task = TASKS[name]()
    items = task.items(speaking)
    assert len(items) >= 300
    assert len({item.name for item in items}) == len(items)
    assert task.items(speaking, limit=20) == items[:20]
    assert task.items(speaking, limit=20, seed=1) != items[:20]
    assert all(0 <= token < speaking.cfg.d_vocab for item in items[:50] for token in item.prompt)
    assert all(item.prompt[0] == speaking.tokenizer.bos_token_id for item in items)


@pytest.mark.parametrize("name", TASKS)
def test_chance_is_what_guessing_gives(speaking, name):
    task = TASKS[name]()
    items = task.items(speaking)
    chance = task.chance(speaking, items)
    expected = {
        "facts": 0.25,
        "ioi": 0.5,
        "induction": 1 / 16,
        "text": -math.log(speaking.cfg.d_vocab),
        "hops": 0.25,
        "counting": 0.25,
    }
    if name in expected:
        assert chance == pytest.approx(expected[name])
    else:  # arithmetic: sums of two of 1 to 4 are 5 in four of 16 cases
        assert 4 / 16 <= chance < 0.33


def _decoded(model, item):
    text = model.tokenizer.decode(item.prompt[1:])
    return text, [model.tokenizer.decode(choice) for choice in item.choices]


def test_facts_ask_for_what_the_relations_say(speaking):
    for item in Facts().items(speaking):
        relation, subject = item.name.split("/")
        template, pairs = RELATIONS[relation]
        prompt, choices = _decoded(speaking, item)
        assert prompt == template.format(subject)
        assert choices[item.answer] == f" {pairs[subject]}"
        assert len(set(choices)) == 4
        assert {choice[1:] for choice in choices} <= set(pairs.values())


def test_the_right_answer_is_in_no_fixed_place(speaking):
    for task in (Facts(), IndirectObject()):
        places = [item.answer for item in task.items(speaking)]
        counts = [places.count(i) for i in set(places)]
        assert min(counts) > 0.8 * sum(counts) / len(counts)


def test_indirect_objects_are_the_other_name(speaking):
    for item in IndirectObject().items(speaking, limit=100):
        prompt, choices = _decoded(speaking, item)
        right, wrong = choices[item.answer][1:], choices[1 - item.answer][1:]
        assert prompt.count(right) == 1
        assert prompt.count(wrong) == 2
        assert item.name.endswith(f"{wrong} to {right}")


@pytest.mark.parametrize("level", [1, 4, 99])
def test_arithmetic_is_right_and_the_question_is_not_among_the_examples(speaking, level):
    for item in Arithmetic(level=level).items(speaking, limit=200):
        prompt, (answer,) = _decoded(speaking, item)
        *examples, question = prompt.split("\n")
        assert len(examples) == 4
        a, b = map(int, question.rstrip("=").split("+"))
        assert answer == f" {a + b}\n"
        assert 1 <= min(a, b) <= max(a, b) <= level
        for example in examples:
            total, c, d = (int(x) for x in (example.split("=")[1], *example.split("=")[0].split("+")))
            assert total == c + d
            assert {c, d} != {a, b} or level == 1


@pytest.mark.parametrize("step", [1, 2, 10])
def test_counting_goes_on_by_equal_steps(speaking, step):
    for item in Counting(level=step).items(speaking, limit=200):
        prompt, choices = _decoded(speaking, item)
        shown = [int(number) for number in prompt.rstrip(",").split(",")]
        numbers = [int(choice) for choice in choices]
        assert [b - a for a, b in itertools.pairwise([*shown, numbers[item.answer]])] == [step] * 4
        assert len(set(numbers)) == 4
        assert not set(numbers) & set(shown)


def test_hops_go_from_a_capital_to_what_its_country_has(speaking):
    country_of = {capital: country for country, capital in RELATIONS["capital"][1].items()}
    for item in Hops(shots=2).items(speaking, limit=200):
        prompt, choices = _decoded(speaking, item)
        *examples, question = prompt.split("\n")
        kind = "language" if question.endswith("speak") else "continent"
        answers = RELATIONS[kind][1]
        right = choices[item.answer][1:]
        sentences = [*examples, f"{question} {right}."]
        for sentence in sentences:
            capital, rest = sentence.split(" is the capital of a country ")
            assert rest.endswith(f" {answers[country_of[capital]]}.")
        assert len({sentence.split(" is ")[0] for sentence in sentences}) == 3
        assert [choice[1:] for choice in choices if choice[1:] in answers.values()] == [c[1:] for c in choices]


class _Rehearsed(Counting):
    """Counting, in which the model is as good as it is said to be."""

    done = (1, 2, 10)

    def is_done_by(self, model):
        return self.level in self.done


def test_a_model_gets_the_hardest_level_that_it_can_do(speaking, monkeypatch):
    assert _Rehearsed().fitted(speaking).level == 2
    assert _Rehearsed().items(speaking, limit=5) == _Rehearsed(level=2).items(speaking, limit=5)
    assert _Rehearsed(level=7).fitted(speaking).level == 7
    monkeypatch.setattr(_Rehearsed, "done", ())
    assert _Rehearsed().fitted(speaking).level == 1


@pytest.mark.parametrize(("share", "done"), [(1.0, True), (0.7, True), (0.55, False), (0.25, False)])
def test_a_level_is_done_at_halfway_from_chance(speaking, monkeypatch, share, done):
    """Chance is one in four, so halfway to 1 is 0.625."""

    def records(self, model, items, tree, batch_size, advance):
        assert [str(route) for route in tree.routes] == ["0-5"]
        yield from ({"score": float(i < share * len(items))} for i in range(len(items)))

    monkeypatch.setattr(Counting, "records", records)
    assert Counting(level=2).is_done_by(speaking) is done


def test_induction_needs_no_tokenizer_and_repeats(llama):
    for item in Induction(length=10, scored=4).items(llama, limit=50):
        (answer,) = item.choices
        sequence = item.prompt + answer
        assert len(sequence) == 20
        assert sequence[:10] == sequence[10:]
        assert len(set(sequence)) == 10


def test_text_windows_are_the_text(speaking, tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("When Mary and John went to the store. " * 200)
    items = Text(str(path), window=20, scored=5).items(speaking)
    for item in items:
        window = speaking.tokenizer.decode(item.prompt[1:] + item.choices[0])
        assert window in path.read_text()
        assert (len(item.prompt), len(item.choices[0])) == (15, 5)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_text_reads_what_datasets_reads(speaking, tmp_path, suffix):
    import pandas as pd

    rows = [{"number": i, "text": f"The capital of France is the city of Paris, number {i}."} for i in range(50)]
    path = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)
    items = Text(str(path)).items(speaking)
    whole = "\n".join(row["text"] for row in rows)
    assert all(speaking.tokenizer.decode(item.prompt[1:]) in whole for item in items)


def test_the_default_text_comes_with_python(speaking):
    from pydoc_data import topics

    whole = "\n\n".join(text for _, text in sorted(topics.topics.items()))
    assert speaking.tokenizer.decode(Text().items(speaking, limit=1)[0].prompt[1:]) in whole


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: Text(str(path / "none.txt")), "there is no file"),
        (lambda path: Text(str(_write(path / "empty.txt", ""))), "is empty"),
        (lambda path: Text(str(_write(path / "short.txt", "a b c"))), "fewer than one window"),
        (lambda path: Text(str(_write(path / "odd.xyz", "a b c"))), "expected a file ending in .txt"),
        (lambda path: Text(str(_write(path / "broken.jsonl", '{"text": "a"}\n{"te'))), "cannot read .*broken"),
        (lambda path: Text(str(_write(path / "n.jsonl", '{"number": 3}\n'))), "no column of .* it has: number"),
        (lambda path: Text(window=5, scored=5), "1 <= scored < window"),
        (lambda path: Facts(choices=1), "2 choices or more"),
        (lambda path: Induction(length=4, scored=4), "scored < length"),
        (lambda path: Arithmetic(level=0), "level of 1 or more, such as arithmetic:4"),
        (lambda path: Arithmetic(shots=-1), "shots >= 0"),
        (lambda path: Arithmetic.from_argument("hard"), "expected a level of arithmetic, .*; got 'hard'"),
        (lambda path: Counting(choices=9), "choices from 2 to 6"),
        (lambda path: Hops(choices=99), "choices from 2 to 5"),
        (lambda path: IndirectObject(count=0), "has no items"),
    ],
)
def test_what_cannot_be_a_task_is_refused(speaking, tmp_path, make, words):
    with pytest.raises(TaskError, match=words):
        make(tmp_path).items(speaking)


def _write(path, text):
    path.write_text(text)
    return path


def test_limits_must_be_positive(speaking):
    with pytest.raises(TaskError, match="1 item or more, got 0"):
        Facts().items(speaking, limit=0)


@pytest.mark.parametrize("task", [Facts(), Hops(), IndirectObject(), Arithmetic(), Counting(), Text()])
def test_a_missing_tokenizer_is_said(llama, task):
    with pytest.raises(LoadError, match=f"the task {task} needs a tokenizer"):
        task.items(llama, limit=1)


def test_arguments_only_where_they_mean_something():
    assert Text.from_argument("a.txt") == Text("a.txt")
    assert str(Text("a.txt")) == "text:a.txt"
    assert Arithmetic.from_argument("9") == Arithmetic(level=9)
    assert [str(Counting()), str(Counting(level=10))] == ["counting", "counting:10"]
    with pytest.raises(TaskError, match="takes no argument"):
        Facts.from_argument("x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Item("a", (), ((1,),)),
        lambda: Item("a", (1,), ()),
        lambda: Item("a", (1,), ((),)),
        lambda: Item("a", (1,), ((2,),), answer=1),
    ],
)
def test_items_without_prompt_answer_or_choices_are_refused(make):
    with pytest.raises(TaskError, match="item 'a' has"):
        make()


def test_scores():
    item = Item("x", (1,), ((2,), (3,)), answer=1)
    assert Facts().score(item, Outcome((-2.0, -1.0), ((True,), (True,)))) == 1
    assert Facts().score(item, Outcome((-1.0, -2.0), ((True,), (True,)))) == 0
    assert Facts().score(item, Outcome((-1.0, -1.0), ((True,), (True,)))) == 0  # a tie is not right
    assert Arithmetic().score(item, Outcome((0.0, -1.0), ((True,), (True, False)))) == 0
    assert Arithmetic().score(item, Outcome((0.0, -1.0), ((False,), (True, True)))) == 1
    assert Induction().score(item, Outcome((0.0,), ((True, False, False, True),))) == 0.5
    assert Text().score(Item("t", (1,), ((2, 3),)), Outcome((-5.0,), ((False, False),))) == -2.5
    assert not Outcome((float("nan"), -1.0), ((True,), (False,))).finite
    assert not Outcome((float("-inf"), -1.0), ((True,), (False,))).finite


def test_what_an_item_is_called_does_not_change():
    """Runs are known by it: with another one, none that was begun before is taken up."""
    item = Item("a", (1, 2), ((3,), (4, 5)), answer=1)
    assert repr(item) == "Item(name='a', prompt=(1, 2), choices=((3,), (4, 5)), answer=1)"


def test_tiny_models_have_a_tokenizer_that_begins_texts(speaking):
    assert speaking.to_tokens("France")[0, 0] == speaking.tokenizer.bos_token_id
    assert speaking.cfg.d_vocab != tiny.VOCABULARY
    assert mp.Route.identity(len(speaking.blocks)).layer_calls == tiny.N_LAYERS
