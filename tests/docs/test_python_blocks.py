"""Every Python block of every page runs, and shows what it says it shows.

The blocks of a page run in order, as one program, in an empty folder; one that begins with `import mechpaint as mp`
begins a program of its own. Where an expression is followed by a comment that is itself an expression, its value must
be that. A block of the language `text` right after holds what is printed; `…` in it stands for anything.
"""

from __future__ import annotations

import ast
import sys
from types import ModuleType

import pytest
import torch

from tests.docs.fences import ROOT, Block, name, programs, shows

PROGRAMS = list(programs("python"))


def _marks(program):
    text = "".join(block.text for block in program)
    if "rxnfp" in text or "minilm" in text:
        return [pytest.mark.models]
    if "gemma" in text or "smollm2" in text:
        return [pytest.mark.models, pytest.mark.slow]
    return [pytest.mark.release] if text.count("mp.analyze(") > 1 or "resume()" in text else []


def readme_session(names):
    assert str(names["session"].route) == "0-7 (8-21)x3 22-29"
    assert [v.step for v in names["session"]["attention"]] == [8, 9, 10]
    counts = names["sweep"].layer_calls, names["sweep"].layer_calls_unshared
    assert f"# {counts}" in (ROOT / "README.md").read_text()


def toys(names):
    assert names["history"].last["accuracy_in_context"] > 0.9
    assert names["history"].last["recall_output"] > 0.9
    assert [v.layer for v in names["session"]["attention"]] == [0, 1]
    assert not torch.allclose(names["logits"], names["broken"], atol=1.0)


FURTHER = {"README.md": [readme_session], "docs/how-to/toys.md": [toys]}
"""What else must hold after a page's programs, in order."""


@pytest.mark.parametrize("program", [pytest.param(p, id=name(p), marks=_marks(p)) for p in PROGRAMS])
def test_python(program, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("to be or not to be, that is the question\n" * 20)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # where dataclasses look annotations up
    for block in program:
        capsys.readouterr()
        run(block, module)
        if block.output is not None:
            assert shows(capsys.readouterr().out, block.output)
    of_page = [p for p in PROGRAMS if p[0].page == program[0].page]
    for check in FURTHER.get(program[0].page, [])[of_page.index(program) :][:1]:
        check(vars(module))


def run(block: Block, module: ModuleType) -> None:
    """Carry out a block statement by statement, and compare what comments say."""
    source = "\n" * (block.line - 1) + block.text
    lines = source.splitlines()
    for statement in ast.parse(source, block.page).body:
        said = _said(lines[statement.end_lineno - 1], statement.end_col_offset)
        if isinstance(statement, ast.Expr) and said is not None:
            value = eval(compile(ast.Expression(statement.value), block.page, "eval"), vars(module))
            assert repr(value) == said, f"{block.page}:{statement.lineno}"
        else:
            exec(compile(ast.Module([statement], []), block.page, "exec"), vars(module))


def _said(line: str, after: int) -> str | None:
    """The comment after a statement, if it is a value; words are not."""
    comment = line.encode()[after:].decode().strip()
    try:
        found = ast.parse(comment.removeprefix("#").strip(), mode="eval").body
    except SyntaxError:
        return None
    return None if isinstance(found, ast.Name) else comment.removeprefix("#").strip()


def test_what_a_comment_says_is_compared():
    good = Block("page", 3, "python", "1 + 1  # 2\nx = 1  # 3\nx  # one\n[x, x]  # [1, 1]\n")
    run(good, ModuleType("page"))
    with pytest.raises(AssertionError, match="page:4"):
        run(Block("page", 3, "python", "x = 1\nx + 1  # 3\n"), ModuleType("page"))
    assert shows("a\nb c\n", "a\n… c")
    assert not shows("a\nb c\n", "a\n… d")


def test_programs_are_found():
    pages = {program[0].page for program in PROGRAMS}
    assert {"README.md", "docs/how-to/hook-set.md", "docs/how-to/analysis.md"} <= pages
