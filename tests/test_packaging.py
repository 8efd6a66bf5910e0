"""What is in the package, and which way imports point."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import mechpaint
import mechpaint.finetuning
import mechpaint.toy

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOMES = {"mechpaint": ROOT / "mechpaint", "mechpaint.hooks": ROOT / "hooks", "mechpaint.analyses": ROOT / "analyses"}


def _files():
    for package, folder in HOMES.items():
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder)
            if not (package == "mechpaint" and inside.parts[0] in ("hooks", "analyses")):
                yield ".".join([package, *inside.with_suffix("").parts]).removesuffix(".__init__"), path


def test_every_folder_of_code_is_a_listed_package():
    found = {name if path.name == "__init__.py" else name.rpartition(".")[0] for name, path in _files()}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


@pytest.mark.parametrize(
    "package", [mechpaint, mechpaint.toy, mechpaint.finetuning], ids=lambda package: package.__name__
)
def test_lazy_names_are_those_of_the_stub(package):
    for name in package.__all__:
        assert getattr(getattr(package, name), "__name__", name) == name
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="nothing"):
        package.nothing  # noqa: B018


def test_the_version_is_said_once():
    assert mechpaint.__version__ == PROJECT["project"]["version"]


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_few_places_know_hugging_face_internals():
    allowed = (
        "mechpaint.engine.",
        "mechpaint.models.",
        "mechpaint.finetuning.model_copies",  # makes Hugging Face's classification models
        "mechpaint.toy.bridge",  # makes toys TransformerLens bridges
    )
    for name, path in _files():
        if not name.startswith(allowed):
            text = path.read_text()
            assert "transformers import" not in text, name
            assert "original_component" not in text, name


def test_the_route_is_pure_python():
    for name in ("route", "steps", "notation", "prefix_tree", "hookset_text"):
        outside = {m for m in _imports(ROOT / "mechpaint" / "routes" / f"{name}.py") if not m.startswith("mechpaint")}
        assert not outside & {"torch", "numpy", "transformers"}, name


@pytest.mark.parametrize("name", [name for name, _ in _files()])
def test_every_module_and_public_thing_is_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert len(module.__doc__.splitlines()[0]) < 120


def test_functions_fit_on_a_screen():
    for name, path in _files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{name}.{node.name}"


def test_constraints_pin_every_requirement():
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in _lines(ROOT / "constraints.txt")}
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in (*PROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)):
        name = requirement.replace("[", "=").replace("<", "=").replace(">", "=").split("=")[0]
        assert name in pinned, requirement


def _lines(path):
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.slow
def test_a_wheel_has_every_module_and_the_page_template(tmp_path):
    """Built as a user would, which asks the package index for setuptools."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name, path in _files():
        suffix = "/__init__.py" if path.name == "__init__.py" else ".py"
        assert name.replace(".", "/") + suffix in inside
    assert {"mechpaint/py.typed", "mechpaint/__init__.pyi", "mechpaint/display/report.html.j2"} <= inside
    assert not [name for name in inside if name.startswith(("tests", "docs", "examples"))]
