"""What the documents show is what happens."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import mechpaint as mp
import mechpaint.hooks
from mechpaint import analysis, hookset, report, statistics
from mechpaint.experiment import ExperimentPlan
from mechpaint.measured import MeasuredPlan
from mechpaint.prefixtree import PrefixTree
from mechpaint.route import Route
from mechpaint.running import run
from mechpaint.scored import ScoredPlan, Settings
from mechpaint.subject import Subject
from mechpaint.tasks import Facts

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
HOOKS = {name: getattr(mechpaint.hooks, name) for name in mechpaint.hooks.__all__}


def _python(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.mark.parametrize(("call", "notation"), re.findall(r"^\| `([A-Z].*?)` \| `([^`]*)`", README, re.M))
def test_the_readmes_table_of_hook_sets(call, notation):
    assert eval(call, dict(HOOKS)).route(18) == Route.parse(notation, 18)


def test_the_readmes_counts():
    listed = re.search(r"for text in \((.*?)\)\]", README)[1]
    tree = PrefixTree(Route.parse(text, 18) for text in re.findall(r'"(.*?)"', listed))
    assert f"# ({tree.layer_calls}, {tree.layer_calls_unshared})" in README


def test_the_readmes_picture_of_routes():
    """Drawn again: `python -m tests.test_docs` writes it."""
    assert (ROOT / "docs" / "figures" / "routes.svg").read_text() == _picture_of_routes().svg


def _picture_of_routes():
    (block,) = [block for block in _python(README) if "routes_diagram" in block]
    names = dict(HOOKS)
    *before, last = block.strip().splitlines()
    exec("\n".join(before), names)
    return eval(last, names)


def test_the_readmes_toys():
    (block,) = [block for block in _python(README) if "toy.train" in block]
    names: dict = {}
    exec(block, names)
    assert names["history"].last["accuracy_in_context"] > 0.9
    assert names["history"].last["recall_output"] > 0.9
    assert [v.layer for v in names["session"]["attention"]] == [0, 1]
    assert not torch.allclose(names["logits"], names["broken"], atol=1.0)


@pytest.mark.gemma
@pytest.mark.slow
def test_the_readmes_session():
    names: dict = {}
    for block in _python(README):
        if "toy." not in block:
            exec(block, names)
    assert str(names["session"].route) == "0-3 (4-13)x3 14-17"
    assert [v.step for v in names["session"]["attention"]] == [4, 5, 6]


@pytest.mark.gemma
@pytest.mark.slow
def test_the_example(capsys):
    script = runpy.run_path(str(ROOT / "examples" / "which_layer_matters.py"))
    script["main"]("The capital of France is the city of")
    shown = capsys.readouterr().out
    assert "all layers      ' Paris'" in shown
    assert len(shown.splitlines()) == 20


def test_the_readme_names_files_that_are_there():
    pages = [
        ((ROOT / "docs" / f"{name}.md").read_text(), ROOT / "docs") for name in ("painters", "birth", "report", "speed")
    ]
    for text, folder in ((README, ROOT), *pages):
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", text):
            assert (folder / target).exists(), target


def test_the_hook_set_of_contributing(llama):
    names: dict = {}
    exec(_python(CONTRIBUTING)[0], names)
    mirror = names["Mirror"](1, 3)
    assert str(mirror) == "mirror(1, 3)"
    assert mirror.route(6) == Route.of([0, 1, 2, 3, 3, 2, 1, 4, 5], 6)
    with torch.no_grad(), mp.attach(llama, mirror):
        assert llama(torch.tensor([[1, 2]])).isfinite().all()


def _contributed(monkeypatch, example, name):
    """The analysis that an example of CONTRIBUTING defines, with the imports that its file would have."""
    from collections.abc import Iterable, Mapping
    from dataclasses import dataclass, field
    from typing import ClassVar

    module = ModuleType(name)
    modules = (analysis, report, statistics, hookset)
    vars(module).update({k: v for m in modules for k, v in vars(m).items() if k not in vars(module)})
    vars(module).update(HOOKS, attach=mp.attach, torch=torch)
    vars(module).update(dataclass=dataclass, field=field, ClassVar=ClassVar, Mapping=Mapping, Iterable=Iterable)
    monkeypatch.setitem(sys.modules, name, module)  # where dataclasses look annotations up
    exec("from __future__ import annotations\n" + _python(CONTRIBUTING)[example], vars(module))
    return vars(module)[name.capitalize()]()


def test_the_route_analysis_of_contributing(speaking, tmp_path, monkeypatch):
    lesions = _contributed(monkeypatch, 1, "lesions")
    plan = ScoredPlan.of(lesions, Subject(speaking, "tiny"), Settings((Facts(),), limit=8))
    page = run(plan, tmp_path, "mechpaint analyze lesions").page.read_text()
    assert "without 5" in page
    assert "tiny, layer by layer." in page


def test_the_model_analysis_of_contributing(speaking, tmp_path, monkeypatch):
    sinks = _contributed(monkeypatch, 2, "sinks")
    finished = run(MeasuredPlan.of(sinks, Subject(speaking, "tiny")), tmp_path, "mechpaint analyze sinks")
    (table,) = finished.report.sections
    assert [row[:2] for row in table.rows] == [
        *(("all", str(layer)) for layer in range(6)),
        *(("without 0", str(layer)) for layer in range(1, 6)),
    ]
    assert all(0 < float(row[2]) < 1 for row in table.rows)


def test_the_experiment_of_contributing(tmp_path, monkeypatch):
    rates = _contributed(monkeypatch, 3, "rates")
    finished = run(ExperimentPlan.of(rates), tmp_path, "mechpaint analyze rates")
    (table,) = finished.report.sections
    assert [row[0] for row in table.rows] == ["0.1", "0.4"]
    start = torch.randn(8, generator=torch.Generator().manual_seed(0)).square().sum().item()
    for rate, loss in table.rows:
        assert float(loss) == pytest.approx(start * (1 - 2 * float(rate)) ** 18, rel=0.01)


if __name__ == "__main__":
    _picture_of_routes().save(ROOT / "docs" / "figures" / "routes.svg")
