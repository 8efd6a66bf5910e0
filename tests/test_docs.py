"""What the documents show is what happens."""

from __future__ import annotations

import re
import runpy
import sys
from types import ModuleType

import pytest
import torch

import mechpaint.hooks
from mechpaint import circuits
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.plans.model_plan import ModelPlan
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.tasks import Facts
from tests.docs.fences import PAGES, ROOT

README = (ROOT / "README.md").read_text()
HOOKS = {name: getattr(mechpaint.hooks, name) for name in mechpaint.hooks.__all__}


def _python(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


CIRCUITS = (ROOT / "docs" / "how-to" / "circuits.md").read_text()
PAINTERS = (ROOT / "docs" / "explanation" / "painters.md").read_text()
TABLES = [
    (*row, n_layers)
    for page, n_layers in ((README, 30), (PAINTERS, 30))
    for row in re.findall(r"\| `([A-Z][^`]*\))` \| `([^`]*)`", page)
]


@pytest.mark.parametrize(("call", "notation", "n_layers"), TABLES)
def test_tables_of_hook_sets(call, notation, n_layers):
    assert eval(call, dict(HOOKS)).route(n_layers) == Route.parse(notation, n_layers)


def test_the_readmes_counts():
    listed = re.search(r"routes = \[(.*?)\]", README)[1]
    tree = PrefixTree(Route.parse(text, 30) for text in re.findall(r'"(.*?)"', listed))
    assert f"# ({tree.layer_calls}, {tree.layer_calls_unshared})" in README


def test_the_picture_of_routes():
    """Drawn again: `python -m tests.test_docs` writes it."""
    assert (ROOT / "docs" / "figures" / "routes.svg").read_text() == _picture_of_routes().svg


def _picture_of_routes():
    (block,) = [block for block in _python(CIRCUITS) if "routes_diagram" in block]
    names = dict(HOOKS, circuits=circuits)
    *before, last = block.strip().splitlines()
    exec("\n".join(before), names)
    return eval(last, names)


@pytest.mark.models
@pytest.mark.slow
def test_the_example(capsys):
    script = runpy.run_path(str(ROOT / "examples" / "which_layer_matters.py"))
    script["main"]("The capital of France is the city of")
    shown = capsys.readouterr().out
    assert "all layers      ' Paris'" in shown
    assert len(shown.splitlines()) == 32


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_name_files_that_are_there(page):
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)[)#]", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """What the page about analyses defines."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)  # where dataclasses look annotations up
    for block in _python((ROOT / "docs" / "how-to" / "analysis.md").read_text()):
        exec(block, vars(module))
    return module


def test_the_route_analysis_that_is_shown(speaking, tmp_path, shown):
    plan = RoutePlan.of(shown.Lesions(), RoutedModel(speaking, "tiny"), Settings((Facts(),), limit=8))
    page = run(plan, tmp_path, "mechpaint analyze lesions").page.read_text()
    assert "without 5" in page
    assert "tiny, layer by layer." in page


def test_the_model_analysis_that_is_shown(speaking, tmp_path, shown):
    finished = run(ModelPlan.of(shown.Sinks(), RoutedModel(speaking, "tiny")), tmp_path, "mechpaint analyze sinks")
    (table,) = finished.report.sections
    assert [row[:2] for row in table.rows] == [
        *(("all", str(layer)) for layer in range(6)),
        *(("without 0", str(layer)) for layer in range(1, 6)),
    ]
    assert all(0 < float(row[2]) < 1 for row in table.rows)


def test_the_experiment_that_is_shown(tmp_path, shown):
    finished = run(ExperimentPlan.of(shown.Rates()), tmp_path, "mechpaint analyze rates")
    (table,) = finished.report.sections
    assert [row[0] for row in table.rows] == ["0.1", "0.4"]
    start = torch.randn(8, generator=torch.Generator().manual_seed(0)).square().sum().item()
    for rate, loss in table.rows:
        assert float(loss) == pytest.approx(start * (1 - 2 * float(rate)) ** 18, rel=0.01)


if __name__ == "__main__":
    _picture_of_routes().save(ROOT / "docs" / "figures" / "routes.svg")
