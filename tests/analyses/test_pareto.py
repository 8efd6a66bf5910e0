"""The analysis `pareto`: its edits and strategies, that it can be stopped at any time, and what its page says."""

from __future__ import annotations

import itertools
import random
import signal
from collections import Counter
from dataclasses import dataclass, replace
from shutil import copytree
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mechpaint as mp
from mechpaint.analyses.pareto import Pareto
from mechpaint.analyses.pareto.archive import Archive
from mechpaint.analyses.pareto.claims import claims
from mechpaint.analyses.pareto.edits import alike, contiguous_skips, mutated, shorter
from mechpaint.analyses.pareto.findings import Findings
from mechpaint.analyses.pareto.objective import MEASURE, graded
from mechpaint.analyses.pareto.strategies import Evolution, Greedy
from mechpaint.errors import AnalysisError, RunError, TaskError
from mechpaint.report import Report, Table
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step
from mechpaint.runs.execute import run
from mechpaint.runs.executors import Serial
from mechpaint.runs.plans.plan import Shard
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.runs.plans.search_plan import SearchPlan, SearchSettings
from mechpaint.runs.schemas import HELD_OUT, LATENCY
from mechpaint.statistics.results import SearchResults, TaskFacts
from mechpaint.tasks import CausalTask, Facts, Glue, Item
from tests import tiny
from tests.mechpaint.runs.surviving import PROCESSES, DieWriting
from tests.rebuilt import check_rebuilt

N = 7


@st.composite
def steps(draw):
    layers = draw(st.lists(st.integers(0, N - 1), min_size=1, max_size=3, unique=True))
    return Step(tuple(layers), draw(st.sampled_from(["mean", "sum"])))


routes = st.builds(lambda made: Route(tuple(made), N), st.lists(steps(), min_size=1, max_size=6))


# ---- edits ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(routes, st.integers(0, 1000), st.integers(1, 6), st.integers(0, 4))
def test_every_mutant_is_a_route_within_the_budget(route, seed, least, more):
    child = mutated(route, random.Random(seed), least, least + more)
    assert least <= child.layer_calls <= least + more
    assert Route.parse(str(child), N) == child
    assert child == mutated(route, random.Random(seed), least, least + more)


@settings(max_examples=40)
@given(routes)
def test_what_is_shorter_has_one_visit_less_and_the_rest_in_order(route):
    visits = [visit.layer for visit in route.visits()]
    found = shorter(route)
    assert len(set(found)) == len(found) <= len(visits)
    assert bool(found) == (len(visits) > 1)
    without = {tuple(visits[:i] + visits[i + 1 :]) for i in range(len(visits))}
    assert {tuple(visit.layer for visit in each.visits()) for each in found} <= without
    assert all(len(each.steps) in (len(route.steps), len(route.steps) - 1) for each in found)


@settings(max_examples=40)
@given(routes)
def test_what_is_alike_runs_the_same_layers_as_often(route):
    layers = Counter(visit.layer for visit in route.visits())
    for each in alike(route):
        assert each != route
        assert Counter(visit.layer for visit in each.visits()) == layers


def test_edits_of_a_small_route_written_out():
    route = Route.parse("0 (1-2) 3", 4)
    assert sorted(map(str, shorter(route))) == ["(1-2) 3", "0 (1-2)", "0 2-3", "0-1 3"]
    assert sorted(map(str, alike(route))) == [
        "(0+1+2) 3", "(0-2) 3", "(1-2) 0 3", "0 (1+2+3)", "0 (1-3)", "0 3 (1-2)",
    ]  # fmt: skip
    assert list(map(str, contiguous_skips(4, 2))) == ["2-3", "0 3", "0-1"]


def test_mutations_reach_every_kind_of_route():
    """From the full model of three layers, in a few hundred steps, all routes of two layer calls."""
    rng, at, seen = random.Random(0), Route.identity(3), set()
    for _ in range(600):
        at = mutated(at, rng, 2, 3)
        seen |= {at} if at.layer_calls == 2 else set()
    assert seen == set(_all_routes(3, 2))


def _all_routes(n_layers, calls):
    """Every route of so many layer calls: written from the definition, not from edits."""
    every = [
        Step(layers, merge)
        for size in range(1, calls + 1)
        for layers in itertools.combinations(range(n_layers), size)
        for merge in (("mean", "sum") if size > 1 else ("mean",))
    ]
    found, open_ = [], [()]
    while open_:
        begun = open_.pop()
        left = calls - sum(len(step.layers) for step in begun)
        if left == 0:
            found.append(Route(begun, n_layers))
        open_ += [(*begun, step) for step in every if 0 < len(step.layers) <= left]
    return found


# ---- the archive and the strategies --------------------------------------------------------------------------------

scores = st.dictionaries(routes, st.floats(-3, 2), min_size=1, max_size=30)


@settings(max_examples=40)
@given(scores)
def test_no_route_of_the_front_is_beaten_and_each_other_is(found):
    archive = Archive(found)
    front = archive.front(1, 99)

    def beaten(route, by):
        one, other = (found[route], -route.layer_calls), (found[by], -by.layer_calls)
        return other != one and all(b >= a for a, b in zip(one, other, strict=True))

    assert front
    assert not any(beaten(route, by) for route in front for by in found)
    same = {(found[route], route.layer_calls) for route in front}
    for route in found:
        assert route in front or (found[route], route.layer_calls) in same or any(beaten(route, by) for by in front)
    ranked = archive.ranked(1, 99)
    assert ranked[: len(front)] == front
    assert sorted(map(str, ranked)) == sorted(map(str, found))


def _wanted(route):
    """A score that is highest where layers 5, 3 and 1 run last, in this order, and each more layer helps a little."""
    order = [visit.layer for visit in route.visits()]
    last = dict(zip((1, 3, 5), reversed(order), strict=False))
    return sum(ran == layer for layer, ran in last.items()) + 0.01 * len(set(order))


def _heavy(route):
    """A score of which each layer has a share of its own, wherever it runs."""
    return sum(
        {0: 5.0, 1: 1.0, 2: 4.0, 3: 2.0, 4: 6.0, 5: 3.0}[layer] for layer in {visit.layer for visit in route.visits()}
    )


def _search(strategy, score, n_layers, limit):
    """Without a model: what a strategy proposes is scored by a function."""
    known = {Route.identity(n_layers): score(Route.identity(n_layers))}
    for place in range(len(strategy.sizes(n_layers, limit))):
        proposed, again = (list(strategy.propose(place, Archive(known), limit, random.Random(place))) for _ in range(2))
        assert proposed == again
        assert len(set(proposed)) == len(proposed)
        known |= {route: score(route) for route in proposed}
    return Archive(known)


def test_greedy_goes_down_one_layer_call_at_a_time():
    archive = _search(Greedy(), _heavy, 6, 3)
    assert {route.layer_calls for route in archive.scores} == {3, 4, 5, 6}
    assert [str(archive.best(archive.within(calls, calls))) for calls in (5, 4, 3)] == ["0 2-5", "0 2 4-5", "0 2 4"]


def test_greedy_mends_what_leaving_out_has_broken():
    """The best order of the last three layers is a swap away, and swaps cost nothing."""
    archive = _search(Greedy(), _wanted, 6, 3)
    assert archive.scores[archive.best(archive.within(3, 3))] > max(map(_wanted, contiguous_skips(6, 3)))


def test_evolution_stays_within_the_budget():
    archive = _search(Evolution(4, 10), _wanted, 6, 3)
    assert {route.layer_calls for route in archive.scores} <= {3, 4, 5, 6}
    assert len(archive.scores) == 41


def test_evolution_ends_where_nothing_new_is_left():
    known = {route: 0.0 for calls in (1, 2) for route in _all_routes(2, calls)}
    assert Evolution(1, 4).propose(0, Archive(known), 1, random.Random(0)) == []


@pytest.mark.parametrize(
    "settings",
    [{"budget": 0.0}, {"budget": 1.0}, {"rounds": 0}, {"population": 0}, {"strategies": ()}]
    + [{"strategies": names} for names in (("luck",), ("greedy", "greedy"))],
)
def test_settings_that_are_refused(settings):
    with pytest.raises(AnalysisError):
        Pareto(**settings)


def test_what_is_within_a_budget():
    assert [Pareto(budget=b).limit(n) for b, n in ((0.75, 18), (0.7, 10), (0.5, 3), (0.99, 2))] == [13, 7, 1, 1]
    with pytest.raises(AnalysisError, match=r"allows none; expected 0\.5 or more"):
        Pareto(budget=0.4).limit(2)


# ---- on a model ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agree(CausalTask):
    """What the full model would say next, so that a random one has something to lose."""

    name: ClassVar[str] = "agree"
    measure: ClassVar[str] = "accuracy"
    count: int = 40

    def generate(self, model, rng):
        prompts = [tuple(rng.randrange(model.cfg.d_vocab) for _ in range(4)) for _ in range(self.count)]
        said = model(torch.tensor(prompts))[:, -1].argmax(dim=-1).tolist()
        for i, prompt in enumerate(prompts):
            yield Item(f"prompt {i}", prompt, ((said[i],),))

    def score(self, item, outcome):
        return float(outcome.greedy[0][0])

    def chance(self, model, items):
        return 0.0


@dataclass(frozen=True)
class Quick(Pareto):
    """The same, with a report that is soon drawn."""

    def report(self, found, held_out, milliseconds):
        rows = [(str(route), str(len(milliseconds[str(route)]))) for route in self.finalists(found)]
        return Report("Quick", ["Finalists."], [Table("finalists", "Finalists", "Timed.", ("route", "passes"), rows)])


SMALL = Quick(budget=0.67, rounds=2, population=5)


def _plan(model, analysis=SMALL, task=None, limit=5, held_out=8, seed=0):
    settings = SearchSettings((task or Agree(),), limit=limit, held_out=held_out, seed=seed)
    return SearchPlan.of(analysis, RoutedModel(model, "tiny"), settings)


def _table(done):
    """What was measured, but for the times."""
    table = pd.read_parquet(done.path / "results.parquet")
    return table[table["round"] != LATENCY].reset_index(drop=True)


@pytest.fixture(scope="module")
def finished(llama, tmp_path_factory):
    return run(_plan(llama), tmp_path_factory.mktemp("runs"), "mechpaint analyze pareto")


def test_nothing_is_scored_twice_and_nothing_held_out_is_seen(finished):
    table = _table(finished)
    searched, held_out = (table[table["round"] != HELD_OUT], table[table["round"] == HELD_OUT])
    for part, items in ((searched, 5), (held_out, 8)):
        assert not part.duplicated(["item", "route"]).any()
        assert (part.groupby("route")["item"].nunique() == items).all()
    assert not set(searched["item"]) & set(held_out["item"])
    order = list(dict.fromkeys(table["round"]))
    assert order == [
        "contiguous skips", *(f"greedy {i}" for i in range(2, 5)), "evolution 1", "evolution 2", HELD_OUT,
    ]  # fmt: skip
    # what greedy tries first, to leave out each layer, are skips that were scored before
    first = set(searched.loc[searched["round"] == "contiguous skips", "route"])
    assert first == {"0-5", *(str(route) for calls in (4, 5) for route in contiguous_skips(6, calls))}


def test_rounds_follow_from_the_scores_before(finished, llama):
    """Greedy's path from records alone: the best of what was tried, by log-probabilities."""
    table = _table(finished)
    searched = table[table["round"] != HELD_OUT]
    value = searched.groupby("route")["logprob"].mean()
    tried = searched.groupby("round")["route"].unique()
    route = Route.identity(6)
    for place in range(4):
        edits = {str(each) for each in (alike(route) if place % 2 else shorter(route))}
        assert set(tried.get(f"greedy {place + 1}", [])) <= edits
        best = max([*edits, *([str(route)] if place % 2 else [])], key=value.__getitem__)
        route = Route.parse(best, 6)
    assert route.layer_calls == 4


def test_scores_are_those_of_a_sweep(finished, llama):
    table = _table(finished)
    task = Agree()
    some = [Route.parse(name, 6) for name in list(dict.fromkeys(table["route"]))[::9]]
    for record in task.records(llama, task.items(llama, 13), PrefixTree(some), 32, lambda ticks: None):
        at = table[(table["item"] == record["item"]) & (table["route"] == record["route"])]
        if len(at):  # routes that were no finalists have no items held out
            assert at["logprob"].item() == pytest.approx(record["logprob"], abs=1e-5)


def test_stopped_anywhere_it_ends_in_the_same_table(finished, llama, tmp_path, monkeypatch):
    """Between rounds and within them, several times in a row."""
    records, left = Agree.records, 0

    def stopping(self, model, items, tree, batch_size, advance):
        nonlocal left
        for record in records(self, model, items, tree, batch_size, advance):
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            yield record

    monkeypatch.setattr(Agree, "records", stopping)
    stopped = 0
    for left in (70, 110, 90):  # noqa: B007 - counted down in `stopping`
        with pytest.raises(KeyboardInterrupt):
            run(_plan(llama), tmp_path, "mechpaint analyze pareto")
        cells = len(list(tmp_path.rglob("cells/*.parquet")))
        assert cells >= stopped
        stopped = cells
    assert stopped > 2
    left = 10**6
    done = run(_plan(llama), tmp_path, "mechpaint analyze pareto")
    assert 0 < done.work.cells < len(_plan(llama).cells())
    pd.testing.assert_frame_equal(_table(done), _table(finished))


def _killed(out, moments):
    """A process that dies while it writes."""
    torch.set_num_threads(1)
    DieWriting(moments)()
    run(_plan(tiny.bridge("llama")), out, "mechpaint analyze pareto")


@pytest.mark.slow
def test_killed_at_any_moment_of_writing_it_ends_in_the_same_table(finished, llama, tmp_path):
    for moments in (40, 70, 55, 30):
        process = PROCESSES.Process(target=_killed, args=(tmp_path, moments))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    there = len(list(tmp_path.rglob("cells/[!.]*.parquet")))
    done = run(_plan(llama), tmp_path, "mechpaint analyze pareto")
    assert 0 < done.work.cells == len(_plan(llama).cells()) - there < len(_plan(llama).cells())
    pd.testing.assert_frame_equal(_table(done), _table(finished))


def test_a_damaged_round_is_computed_again_and_no_other(finished, llama):
    before = _table(finished)
    cell = next((finished.path / "cells").glob("03-*.parquet"))
    whole = cell.read_bytes()
    cell.write_bytes(whole[:-20])
    with pytest.warns(UserWarning, match="is damaged"):
        again = run(_plan(llama), finished.path.parents[1], "mechpaint analyze pareto")
    assert again.work.cells == 1
    assert cell.read_bytes() == whole
    pd.testing.assert_frame_equal(_table(again), before)


def test_more_rounds_take_over_those_that_there_are(finished, llama, monkeypatch):
    """Only the new round and the items held out are asked."""
    asked = []
    records = Agree.records

    def counted(self, model, items, tree, batch_size, advance):
        asked.extend((item.name, str(route)) for item in items for route in tree.routes)
        return records(self, model, items, tree, batch_size, advance)

    monkeypatch.setattr(Agree, "records", counted)
    more = run(_plan(llama, replace(SMALL, rounds=3)), finished.path.parents[1], "mechpaint analyze pareto")
    assert more.work.reused.cells == 7
    table, before = _table(more), _table(finished)
    new = table[(table["round"] == "evolution 3") | (table["round"] == HELD_OUT)]
    assert Counter(asked) == Counter(zip(new["item"], new["route"], strict=True))
    same = [each[each["round"].isin(set(before["round"]) - {HELD_OUT})] for each in (table, before)]
    pd.testing.assert_frame_equal(*same)


def test_rounds_have_no_shards_and_no_workers(llama, tmp_path):
    with pytest.raises(RunError, match="follow from each other, so one process computes them in order"):
        run(_plan(llama), tmp_path, "mechpaint analyze pareto", shard=Shard(1, 2))
    with pytest.raises(RunError, match="no shards, and no workers"):
        run(_plan(llama), tmp_path, "mechpaint analyze pareto", executor=Serial())
    assert not list(tmp_path.iterdir())


def test_another_seed_is_another_search(finished, llama, tmp_path):
    plan = _plan(llama, seed=1)
    assert plan.config() != _plan(llama).config()
    assert {cell.basis for cell in plan.cells()}.isdisjoint(cell.basis for cell in _plan(llama).cells())


@pytest.mark.parametrize(
    ("calls", "rounds", "population", "how_many"),
    [(2, 6, 10, 45), pytest.param(3, 14, 25, 345, marks=pytest.mark.slow)],
)
def test_evolution_finds_the_best_route_of_all(calls, rounds, population, how_many, tmp_path):
    """On a model of 5 layers, against all routes of so many layer calls, each of them scored."""
    model = mp.load(tiny.folder(tmp_path / "model", n_layers=5))
    analysis = Quick(budget=calls / 5, strategies=("evolution",), rounds=rounds, population=population)
    done = run(_plan(model, analysis, limit=6, held_out=1), tmp_path / "runs", "mechpaint analyze pareto")
    every, task = _all_routes(5, calls), Agree()
    assert len(every) == how_many
    records = task.records(model, task.items(model, 6), PrefixTree(every), 32, lambda ticks: None)
    value = pd.DataFrame(records).groupby("route")["logprob"].mean()
    tried = [name for name in _table(done)["route"].unique() if Route.parse(name, 5).layer_calls == calls]
    assert len(tried) < 0.9 * how_many  # not all of them
    assert value.idxmax() in tried


# ---- what is said of it --------------------------------------------------------------------------------------------


def test_the_report_can_be_drawn_anew(finished, llama, tmp_path):
    folder = tmp_path / "runs" / "pareto" / finished.path.name
    copytree(finished.path / "cells", folder / "cells")
    drawn = run(_plan(llama, Pareto(budget=0.67, rounds=2, population=5)), tmp_path / "runs", "mechpaint")
    assert (drawn.path, drawn.work.cells) == (folder, 0)
    assert [section.name for section in drawn.report.sections] == [
        "claims", "front", "found", "routes", "tasks", "skips", "progress", "rounds",
    ]  # fmt: skip
    sections = {section.name: section for section in drawn.report.sections}
    assert sections["found"].rows[0][1] == "4"
    assert all(float(row[4]) > 0 for row in sections["found"].rows)
    assert len(sections["skips"].rows) == 5
    assert [row[0] for row in sections["rounds"].rows][:2] == ["contiguous skips", "greedy 2"]
    check_rebuilt(drawn.path, tmp_path / "again")


def test_searches_are_not_compared(finished, tmp_path):
    with pytest.raises(RunError, match="searches cannot be compared, since each scores routes of its own"):
        mp.compare([finished, copytree(finished.path, tmp_path / "pareto" / "other")], out=tmp_path)


def test_what_it_cannot_search_with(llama, speaking, tmp_path):
    with pytest.raises(TaskError, match=r"has 40 items, and a search needs more than the 40 that it sees"):
        _plan(llama, limit=40)
    with pytest.raises(TaskError, match="expected 1 item or more, and 1 held out or more, got 0, 8"):
        _plan(llama, limit=0)
    with pytest.raises(TaskError, match="is none to search with"):
        _plan(llama, task=Glue("cola", "nowhere"))
    with pytest.raises(AnalysisError, match="not clearly better than chance on facts, so there is no score to lose"):
        run(_plan(speaking, task=Facts()), tmp_path, "mechpaint analyze pareto")


def test_a_dry_run_says_what_it_would_be(llama):
    forecast = _plan(llama).forecast()
    assert forecast["rounds"] == 7
    assert forecast["routes, about"] == 12 + (6 + 12) + (5 + 9) + 2 * 5
    assert (forecast["items"], forecast["items held out"]) == ({"agree": 5}, {"agree": 8})


def _results(value, items=60, vocabulary=100, noise=0.3):
    """Scores of routes of five layers, of which each keeps a share of the full model's: `value`, or 0.1."""
    every = [Route.identity(5), Route.parse("0 2 4", 5), *contiguous_skips(5, 3)]
    rng, chance = np.random.default_rng(0), -np.log(vocabulary)
    rows = [
        {"item": str(i), "route": str(route), "score": float(rng.random() < share)}
        | {"logprob": 2 * (chance * (1 - share) - share + noise * rng.normal())}
        for route in every
        for share in [value.get(str(route), 1.0 if route.is_identity else 0.1)]
        for i in range(items)
    ]
    records = pd.DataFrame(rows).assign(round="x", task="facts", tokens=2, finite=True, metrics="")
    named = {"baseline": every[0], **{str(route): route for route in every}}
    return SearchResults(records, named, (TaskFacts("facts", "accuracy", 0.0, items),), "made up", 5, vocabulary)


def test_what_the_search_goes_by():
    made = _results({})
    (task,) = graded(made).tasks
    assert (task.measure, task.chance) == (MEASURE, -np.log(100))
    scaled = graded(made).records
    assert scaled["score"].tolist() == (made.records["logprob"] / 2).tolist()
    without = replace(made, records=made.records.assign(tokens=0, logprob=np.nan))
    assert graded(without).tasks == made.tasks
    assert graded(without).records["score"].tolist() == made.records["score"].tolist()


@pytest.mark.parametrize(
    ("skipped", "found", "expected"), [(0.5, 0.8, "held"), (0.8, 0.801, "undecided"), (0.9, 0.6, "not held")]
)
def test_the_claims_are_decided_by_the_items_held_out(skipped, found, expected):
    """On the items of the search the found route is always better."""
    seen = _results({"0 2 4": 0.95, "0-2": 0.5})
    findings = Findings(Pareto(budget=0.6), seen, _results({"0 2 4": found, "0-2": skipped}), {})
    assert (str(findings.chosen), str(findings.best_skip(3))) == ("0 2 4", "0-2")
    assert [claim.verdict for claim in claims(findings)][:2] == [expected, expected]
    assert findings.estimated(findings.chosen).value == pytest.approx(found, abs=0.05)


def test_the_opponent_is_whatever_skip_is_best_on_the_items_held_out():
    """Better than the skip that the search would have chosen, and not than another."""
    seen = _results({"0 2 4": 0.95, "0-2": 0.5})
    findings = Findings(Pareto(budget=0.6), seen, _results({"0 2 4": 0.7, "0-2": 0.4, "2-4": 0.9}), {})
    assert [claim.verdict for claim in claims(findings)][:2] == ["held", "not held"]
