"""A report is not drawn again where nothing has changed, and is where anything has."""

from __future__ import annotations

from dataclasses import replace

import pytest

import mechpaint
from mechpaint.analyses.painters import Painters
from mechpaint.runs import drawn
from mechpaint.runs.drawn import Headline
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.runs.report_inputs import ReportInputs
from mechpaint.statistics.metrics import Mean
from mechpaint.statistics.results import TaskFacts
from mechpaint.tasks import Facts
from tests.made_up import Walks
from tests.written import written

COMMAND = "mechpaint analyze painters"


@pytest.fixture
def drawing(speaking, tmp_path, monkeypatch):
    """Runs it, and tells how many reports were drawn by then."""
    made, report = [], Painters.report
    monkeypatch.setattr(Painters, "report", lambda *given: made.append(1) or report(*given))

    def draw(command=COMMAND):
        painters = Painters(start_layers=(2,), seeds=1)
        plan = RoutePlan.of(painters, RoutedModel(speaking, "tiny"), Settings((Facts(),), 3))
        return run(plan, tmp_path, command), len(made)

    return draw


def test_a_report_that_is_there_is_not_drawn_again(drawing):
    first, _ = drawing()
    before = written(first.path)
    again, times = drawing()
    assert (times, again.headline) == (1, Headline.of(first.report))
    assert written(again.path) == before


def test_what_has_changed_draws_again(drawing, monkeypatch):
    first, _ = drawing()
    before = written(first.path)
    first.page.unlink()
    again, times = drawing()
    assert (times, written(again.path)) == (2, before)
    monkeypatch.setattr(drawn, "_code", lambda: "another")
    other, times = drawing("mechpaint analyze painters --seed 0")
    assert (times, "--seed 0" in other.page.read_text()) == (3, True)


@pytest.fixture
def drawn_folder(tmp_path):
    """A run folder with a report of three files."""
    for name in ("cells/00.parquet", "results.parquet", "report.md", "report.html", "figures/a.svg", "tables/b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


HEADLINE = Headline("A title", (("claims", "2 of 3"),), ("It was found.",))


def test_what_was_drawn_is_known_while_no_file_changes(drawn_folder):
    drawn.write(drawn_folder, "this", HEADLINE)
    assert drawn.headline(drawn_folder, "this") == HEADLINE
    assert drawn.headline(drawn_folder, "that") is None
    for name in ("results.parquet", "report.md", "report.html", "figures/a.svg", "tables/b.csv"):
        (drawn_folder / name).write_text("damaged")
        assert drawn.headline(drawn_folder, "this") is None
        (drawn_folder / name).unlink()
        assert drawn.headline(drawn_folder, "this") is None
        (drawn_folder / name).write_text(name)
        assert drawn.headline(drawn_folder, "this") == HEADLINE
    for odd in ("{}", "", "[]", '{"basis": "this", "files": {}, "headline": null}'):
        (drawn_folder / drawn.DRAWN).write_text(odd)
        assert drawn.headline(drawn_folder, "this") is None


def test_cells_inputs_command_code_and_packages_are_what_it_is_drawn_from(drawn_folder, monkeypatch):
    inputs = ReportInputs(Painters(), None, (TaskFacts("facts", "accuracy", 0.0, 3),), (("seed", "0"),))
    cells = {"00": "basis"}
    seen = [drawn.basis(drawn_folder, cells, inputs, COMMAND)]
    seen.append(drawn.basis(drawn_folder, cells, inputs.with_details([("versions", "1")]), COMMAND))
    seen.append(drawn.basis(drawn_folder, cells, inputs, COMMAND + " --seed 1"))
    (drawn_folder / "cells/00.parquet").write_text("other records")
    seen.append(drawn.basis(drawn_folder, cells, inputs, COMMAND))
    monkeypatch.setattr(drawn, "_code", lambda: "another")
    seen.append(drawn.basis(drawn_folder, cells, inputs, COMMAND))
    monkeypatch.setattr(drawn, "version", lambda name: "another")
    seen.append(drawn.basis(drawn_folder, cells, inputs, COMMAND))
    assert len({*seen, None}) == 7
    assert drawn.basis(drawn_folder, cells, replace(inputs, analysis=Walks()), COMMAND) is None
    elsewhere = replace(inputs.tasks[0], metric=Elsewhere())
    assert drawn.basis(drawn_folder, cells, replace(inputs, tasks=(elsewhere,)), COMMAND) is None


class Elsewhere(Mean):
    """A metric whose code is not mechpaint's."""


def test_every_file_of_mechpaint_counts(tmp_path, monkeypatch):
    for name in ("__init__.py", "display/report.html.j2", "analyses/painters/claims.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    (tmp_path / "linked").symlink_to(tmp_path / "analyses")
    monkeypatch.setattr(mechpaint, "__file__", str(tmp_path / "__init__.py"))
    digests = {drawn._code.__wrapped__()}
    for path in list(tmp_path.rglob("*.*")):
        path.write_text("after")
        digests.add(drawn._code.__wrapped__())
    assert len(digests) == 4
    real = {path.relative_to(tmp_path).as_posix() for path in drawn._sources(tmp_path)}
    assert "linked/painters/claims.py" in real


def test_the_report_of_an_analysis_from_elsewhere_is_always_drawn(tmp_path, monkeypatch):
    made, report = [], Walks.report
    monkeypatch.setattr(Walks, "report", lambda *given: made.append(1) or report(*given))
    for _ in range(2):
        run(ExperimentPlan(Walks(seeds=(1,)), 1), tmp_path, "mechpaint analyze walks")
    assert len(made) == 2
