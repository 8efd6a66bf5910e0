"""From work to time, memory and workers."""

from __future__ import annotations

import dataclasses
import itertools
from weakref import WeakKeyDictionary

import pytest
import torch

import mechpaint as mp
from mechpaint.errors import PlanError
from mechpaint.hooks import Skip
from mechpaint.planning import calibration, call_timings
from mechpaint.planning.accelerators import ACCELERATORS, Efficiency, Roofline, accelerator
from mechpaint.planning.calibration import Line, Pace, measured
from mechpaint.planning.cost import Cost, Memory
from mechpaint.planning.flops import Counted, Operation
from mechpaint.planning.forecast import Forecast, optimal_workers, workers
from mechpaint.planning.layer_calls import Shapes, calls_of, visits_per_call
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.batches import Batch, batches
from mechpaint.scoring.items import Item
from mechpaint.tasks import Facts
from mechpaint.tasks.synthetic import Described
from tests import tiny

ALL = Efficiency(1.0, 1.0, 0.0)


def test_an_operation_is_bound_by_arithmetic_memory_or_its_launch():
    h100 = ACCELERATORS["h100"]
    whole = Roofline(h100, "bfloat16", ALL)
    assert whole.seconds(989_400_000_000_000, 1) == pytest.approx(1)
    assert whole.seconds(1, 3_350_000_000_000) == pytest.approx(1)
    half = Roofline(h100, "float32", Efficiency(0.5, 0.25, 1e-5))
    assert half.seconds(66_900_000_000_000, 1) == pytest.approx(2)
    assert half.seconds(1, 3_350_000_000_000) == pytest.approx(4)
    assert half.seconds(1, 1) == 1e-5
    both = Counted((Operation(66_900_000_000_000, 1), Operation(0, 3_350_000_000_000)), 0)
    assert both.seconds(half) == pytest.approx(6)


def test_weights_are_divided_among_devices_and_batches_are_not():
    l40s = Roofline(ACCELERATORS["l40s"], "bfloat16", ALL)  # 48 GB, of which 43.2 are used
    assert [l40s.devices(split, 3_200_000_000) for split in (1, 40_000_000_000, 40_000_000_001)] == [1, 1, 2]
    with pytest.raises(PlanError, match=r"take 44\.0 GB, and l40s has 48: expected a smaller --batch-size"):
        l40s.devices(1, 44_000_000_000)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: accelerator("abacus"), "there is no accelerator 'abacus': expected here, or one of h100"),
        (lambda: Roofline(ACCELERATORS["v100"], "bfloat16"), "v100 does not compute in bfloat16"),
        (lambda: Efficiency(compute=0.0), "share of compute that is reached must be"),
        (lambda: Efficiency(bandwidth=1.5), "share of bandwidth that is reached must be"),
        (lambda: Efficiency(launch=-1.0), "time of a launch must be"),
        (lambda: Described(0, 8), "at least 1 item"),
        (lambda: Described(3, 8, 9), "--tokens 8 --scored 9"),
    ],
)
def test_what_cannot_be_planned_is_refused(make, words):
    with pytest.raises(PlanError, match=words):
        make()


def test_workers_take_the_longest_part_that_is_left():
    two = workers([3.0, 4.0, 3.0, 5.0, 3.0], 1.0, 2)  # 5 + 3 beside 4 + 3 + 3
    assert two.seconds == 11.0
    assert two.busy == pytest.approx(18 / 22)


def test_workers_are_worth_having_while_they_compute():
    assert optimal_workers([1.0] * 8, 0.0).count == 8
    assert optimal_workers([1.0] * 8, 1000.0).count == 1
    assert optimal_workers([100.0] * 8, 20.0).count == 8  # they compute for 100 of 120 seconds
    assert optimal_workers([100.0] * 8, 30.0).count == 4  # 100 of 130 is too little; 5 to 7 are no faster than 4
    assert optimal_workers([100.0], 20.0).count == 1
    assert optimal_workers([1000.0, 1.0, 1.0], 0.0).count == 1  # the long part is one worker's


def test_worth_having_is_the_most_that_keep_busy_by_trying_all():
    for parts in itertools.product((10.0, 60.0), (10.0, 200.0), (60.0,), (90.0, 100.0)):
        for begin in (0.0, 5.0, 50.0):
            every = [workers(parts, begin, count) for count in range(1, 5)]
            enough = min(0.8, every[0].busy)
            best = optimal_workers(parts, begin)
            assert best.busy >= enough
            assert all(one.seconds >= best.seconds for one in every if one.busy >= enough)


def _sized(items, tokens):
    """A batch of so many rows, each scored at one position."""
    given = [Item(str(i), (i,) * tokens, ((1,),)) for i in range(items)]
    return batches(given, items)[0]


def test_a_batch_takes_its_calls_its_routes_and_something_once():
    tree = PrefixTree([Route.identity(4), Route.of([0, 2], 4)])  # 6 layer calls less the shared one, 2 routes
    shapes = Shapes(tiny.bridge("llama"))  # rows that have nothing in common
    pace = Pace(shapes, lambda tokens, length: tokens / 10_000 + length, Line(0.1, 0.01), once=5.0, correction=2.0)
    # 600 tokens, more than half of what shares a call: 5 calls of one visit
    assert pace.seconds(tree, _sized(20, 30)) == pytest.approx(2 * (5 + 5 * (0.06 + 30) + 2 * (0.1 + 0.2)))


def test_a_line_goes_through_two_amounts_and_never_falls():
    assert Line.through((1, 2.0), (3, 3.0)) == Line(1.5, 0.5)
    assert Line.through((1, 3.0), (3, 2.0)) == Line(2.0, 0.0)
    assert Line.through((1, 0.1), (3, 3.0)) == Line(0.0, 1.0)  # and nothing takes at least no time
    assert Line.through((3, 3.0), (3, 2.0)) == Line(2.0, 0.0)


def test_visits_that_share_a_call_take_what_such_calls_take():
    """Layer 2 on two streams: one call of two visits, or where three may share one still two."""
    tree = PrefixTree([Route.of([0, 2, 3], 4), Route.of([1, 2, 3], 4)])
    assert calls_of(tree, 1) == {(0, 1): 1, (1, 1): 1, (2, 1): 2, (3, 1): 2}
    assert calls_of(tree, 3) == {(0, 1): 1, (1, 1): 1, (2, 2): 1, (3, 2): 1}
    skips = PrefixTree(Skip(layer, layer).route(18) for layer in range(18))
    assert calls_of(skips, 32) == {(layer, layer + 1): 1 for layer in range(17)} | {(0, 1): 1, (17, 17): 1}
    pace = Pace(Shapes(tiny.bridge("llama")), lambda tokens, length: 1 + tokens / 600, Line(0.0))
    assert pace.seconds(tree, _sized(20, 30)) == pytest.approx(6 * 2)  # one visit a call
    assert pace.seconds(tree, _sized(10, 30)) == pytest.approx(2 * 1.5 + 2 * 2)  # up to three


class Clock:
    """Goes on by what layers and routes are said to take, and by nothing else."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass(frozen=True)
class Taking(Facts):
    """A task that takes as long as it is told."""

    clock: object = None

    def records(self, model, items, tree, batch_size, advance):
        (batch,) = batches(items, batch_size)
        self.clock.now += truth(batch, tree)
        return iter(())


def truth(batch, tree):
    """With something that a batch, a call and a route take however short they are."""
    tokens = len(batch.rows) * max(map(len, batch.rows))
    calls = calls_of(tree, visits_per_call(tokens, torch.device("cpu"))).items()
    layers = sum(times * a_call(visits * tokens) for (_, visits), times in calls)
    return 0.03 + layers + (0.01 + 1e-4 * _scored(batch)) * len(tree.routes)


def _scored(batch):
    return len({(place.row, place.position) for item in batch.places for answer in item for place in answer})


def a_call(tokens):
    """However many visits these are of."""
    return 0.002 + 1e-4 * tokens


@pytest.mark.parametrize(("budget", "within"), [(0.1, 0.35), (10.0, 0.03), (1e6, 0.005)])
def test_what_a_call_and_a_route_take_is_found_from_a_few(speaking, monkeypatch, budget, within):
    """With little time only some items can be asked, and what a batch takes anyway is taken for theirs."""
    clock = Clock()
    monkeypatch.setattr(calibration.time, "perf_counter", clock)
    monkeypatch.setattr(calibration, "BUDGET", budget)

    def call(self, layer, residual, arguments, block=None):
        clock.now += a_call(residual.shape[0] * residual.shape[1])
        return residual

    monkeypatch.setattr(call_timings.RouteRunner, "call", call)
    monkeypatch.setattr(call_timings, "_KNOWN", WeakKeyDictionary())
    tree = PrefixTree(Route.of([i, j, k], 6) for i in range(6) for j in range(6) for k in range(6))
    some = batches(Facts().items(speaking, 24), 8)
    monkeypatch.setattr("mechpaint.planning.layer_calls.shares_tokens", lambda *_: False)
    shapes = Shapes(speaking)
    assert len({shapes.tokens(batch) for batch in some}) > 3
    pace = measured(speaking, Taking(clock=clock), [(tree, some)], 8, shapes)
    for batch in some:
        assert pace.seconds(tree, batch) == pytest.approx(truth(batch, tree), rel=within)


@pytest.mark.parametrize("name", ["gemma3", "bloom"])
def test_a_plan_counts_the_positions_that_sweeps_compute(name):
    """Two choices begin alike, and all need what follows the prompt; Bloom runs rows."""
    item = Item("one", tuple(range(20)), ((30, 31, 32, 33), (40, 41), (50, 51, 52, 53), (30, 61, 62, 63)))
    model, batch = tiny.bridge(name), Batch.of([item])
    shapes = Shapes(model)
    tokens, mask = batch.padded("cpu")
    assert mp.sweep(model, tokens, ["0-5"], attention_mask=mask).computed_positions == shapes.tokens(batch)
    rows = len(item.rows())
    distinct = {row[:end] for row in item.rows() for end in range(1, len(row) + 1)}
    shared = name == "gemma3"
    assert shapes.tokens(batch) == (len(distinct) if shared else rows * 23)
    seen = {item.rows()[p.row][: p.position + 1] for answer in item.places() for p in answer}
    places = {(p.row, p.position) for answer in item.places() for p in answer}
    assert shapes.scored(batch) == len(seen if shared else places)


def test_a_forecast_adds_tasks_and_takes_the_larger_memory():
    tree = PrefixTree([Route.identity(2)])
    one = Cost(1, 2, 2, 100, (60.0, 60.0), Memory(10, 20, 30))
    two = Cost(2, 4, 4, None, (30.0,), Memory(10, 200, 0))
    forecast = Forecast(tree, {"a": 1, "b": 2}, (one, two))
    assert (forecast.seconds, forecast.memory, forecast.flops, forecast.devices) == (150.0, two.memory, None, 1)
    told = forecast.told()
    assert told["floating-point operations"] == "not counted"
    assert (told["minutes"], told["where"], told["layer calls"]) == (2.5, "here", 6)
    assert Forecast(tree, {}, (one, one)).told()["floating-point operations"] == 200


def test_nothing_left_costs_nothing():
    told = Forecast(PrefixTree([Route.identity(2)]), {"a": 3}, []).told()
    assert (told["minutes"], told["layer calls"], told["workers worth having"], told["items"]) == (0, 0, 0, {"a": 3})
