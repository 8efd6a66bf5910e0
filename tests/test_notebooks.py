"""The notebooks: as they are committed, as they run, and as pages in a browser. What they say is what happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache, reduce
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra 'notebooks' is not installed")

from examples import export, strip  # noqa: E402

SESSION, READING, BIRTH, PAINTERS, OWN, ROUTE = (
    "1_first_session",
    "2_reading_an_induction_head",
    "3_watching_it_be_born",
    "4_the_painters_questions",
    "5_your_own",
    "6_interpretability_on_a_route",
)
MARKS = {
    **dict.fromkeys((SESSION, READING, PAINTERS, ROUTE), (pytest.mark.slow, pytest.mark.models)),
    BIRTH: (pytest.mark.slow,),
    OWN: (pytest.mark.release,),
}
# one process executes a notebook for all of its tests
MARKS = {name: (*marks, pytest.mark.xdist_group(name)) for name, marks in MARKS.items()}
EVERY = [path.stem for path in export.notebooks()]
RUN = [pytest.param(name, marks=marks, id=name) for name, marks in sorted(MARKS.items())]
ROOT = export.FOLDER.parent


def _marked(name):
    """Mark a test as those of a notebook are."""
    return lambda test: reduce(lambda marked, mark: mark(marked), MARKS[name], test)


FOUND = {
    SESSION: {
        "chances": "{name: [p[italy].item(), p[france].item()] for name, p in found.items()}",
        "calls": "[sweep.layer_calls, sweep.layer_calls_unshared]",
        "visits": "[[visit.step, visit.layer] for visit in session['attention']]",
        "difference": "(plain - attached).abs().max().item()",
    },
    READING: {
        "scores": "{s.name: [s.previous_token, s.prefix_matching, s.copying] for s in scores}",
        "broken": "broken[-1].prefix_matching",
        "accuracies": "accuracies",
        "itself": "itself.item()",
        "best": "[score.name for score in best]",
    },
    BIRTH: {
        "rows": "list(history.rows)",
        "frozen": "{name: [row for row in seen.rows if row['step'] == 80][0] for name, seen in runs.items()}",
        "ends": "{name: seen.last['accuracy_changed'] for name, seen in runs.items()}",
        "data": "{name: seen.last for name, seen in by_data.items()}",
        "halves": "{name: seen.first('accuracy_changed', 0.5) for name, seen in by_data.items()}",
        "random": "history.rows[0]['accuracy_in_context']",
    },
    PAINTERS: {
        "alike": "alike.tolist()",
        "scores": "scores.to_dict('index')",
        "ranked": "list(ranked.index)",
        "reordered": "reordered.to_dict()",
        "perplexity": "{str(name): value for name, value in perplexity.items()}",
    },
    OWN: {"cells": "[run.work.cells, again.work.cells]", "same": "same"},
    ROUTE: {
        "final": "{name: [rank for (one, _), rank in final.items() if one == name] for name in routes}",
        "written": "written.to_dict()",
        "plain": "[difference(mp.HookSet()), difference(twice)]",
        "ablated": "ablated.to_dict()",
        "patched": "{' / '.join(key): line for key, line in patched.items()}",
        "calls": "[sweep.layer_calls, sweep.layer_calls_unshared]",
    },
}


@cache
def _ran(name):
    """An executed notebook, and values in its kernel at the end; executed once for all tests."""
    notebook = nbformat.read(export.FOLDER / f"{name}.ipynb", as_version=4)
    values = ", ".join(f"{key!r}: {expression}" for key, expression in FOUND[name].items())
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{values}}}))"))
    with tempfile.TemporaryDirectory() as folder:
        export.execute(notebook, Path(folder))
    return notebook, json.loads(notebook.cells.pop().outputs[0].text)


def _text(notebook, cell):
    (found,) = [one for one in notebook.cells if one.id == cell]
    return "".join(output.text for output in found.outputs if output.output_type == "stream")


def test_every_notebook_is_tested():
    assert sorted(MARKS) == EVERY == sorted(FOUND)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_committed(name):
    """No outputs, nothing of the machine it was written on; a title, a promise of what comes, and exercises."""
    raw = (export.FOLDER / f"{name}.ipynb").read_text("utf-8")
    notebook = nbformat.reads(raw, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert raw == strip.text_of(strip.stripped(notebook)), "python -m examples.strip makes it as it should be"
    assert '"outputs": []' in raw
    assert not re.search(r'"outputs": \[[^\]]|"execution_count": [0-9]|"metadata": \{\n    ', raw)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    opening, closing = " ".join(notebook.cells[0].source.split()), notebook.cells[-1].source
    assert opening.startswith(f"# {name[0]}. ")
    assert notebook.metadata.title.split()[-1] in opening
    assert "on two cores" in opening or "half a minute" in opening
    assert "pip install" in opening
    assert closing.startswith("## Try this")


def test_stripping_leaves_what_was_written(tmp_path, monkeypatch, capsys):
    code = nbformat.v4.new_code_cell("6 * 7", id="product", metadata={"scrolled": True})
    prose = nbformat.v4.new_markdown_cell("What is it?", id="question", metadata={"tags": ["a"]})
    clean = nbformat.v4.new_notebook(cells=[prose, code], metadata={"title": "Small"})
    ran = nbformat.from_dict(clean)
    ran.metadata["language_info"] = {"name": "python", "version": "3.12.1"}
    ran.cells[1].outputs = [nbformat.v4.new_output("stream", text="42")]
    ran.cells[1].execution_count = 3
    nbformat.write(ran, tmp_path / "1_small.ipynb")
    monkeypatch.setattr(strip, "notebooks", lambda: [tmp_path / "1_small.ipynb"])
    strip.main()
    assert capsys.readouterr().out == f"{tmp_path / '1_small.ipynb'}\n"
    kept = nbformat.read(tmp_path / "1_small.ipynb", as_version=4)
    assert [(cell.id, cell.source, cell.metadata) for cell in kept.cells] == [
        ("question", "What is it?", {}),
        ("product", "6 * 7", {}),
    ]
    assert (kept.cells[1].outputs, kept.cells[1].execution_count) == ([], None)
    assert kept.metadata.language_info == {"name": "python"}
    assert kept.metadata.title == "Small"
    strip.main()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", EVERY)
def test_links_lead_somewhere(name):
    notebook = nbformat.read(export.FOLDER / f"{name}.ipynb", as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\((.*?)\)", prose):
        assert link.startswith("https://arxiv.org/abs/") or (export.FOLDER / link).exists(), link


@pytest.mark.parametrize("name", RUN)
def test_it_runs_and_says_nothing_but_what_it_should(name):
    notebook, _ = _ran(name)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"] == []
    for cell in notebook.cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert cell.source.startswith("# "), "the page says in these words what the figure shows"


@_marked(SESSION)
def test_the_first_session():
    notebook, found = _ran(SESSION)
    chances = found["chances"]
    assert chances["all layers"][0] > 0.7
    assert max(max(chances[f"without {layer}"]) for layer in (0, 1)) < 0.05
    assert max(chances[f"without {layer}"][0] for layer in (0, 1, 11, 23, 24, 29)) < 0.05
    unnoticed = [name for name, (italy, _) in chances.items() if italy > 0.4]
    assert len(unnoticed) > 20  # most layers, and the full model
    assert [name for name, (italy, france) in chances.items() if france > max(italy, 0.1)] == ["without 11"]
    more = dict(line.split("  ", 1) for line in _text(notebook, "more").splitlines())
    first = {route: guesses.split("'")[1] for route, guesses in more.items()}
    kept = ("0-13 18-29", "0-9 13-10 14-29", "0-9 (10-13) 14-29", "0-9 (10-13)x3 14-29")
    assert [first[route] for route in kept] == [" Italy"] * 4
    assert first["0-9 14-29"] == " France"
    averaged, looped = (int(re.search(r"' Italy' (\d+)%", more[route])[1]) for route in kept[2:])
    assert averaged > 60
    assert looped > 100 * chances["all layers"][0]
    assert "Italy" not in more["1-29"]
    assert found["visits"] == [[10, 13], [11, 13], [12, 13]]
    assert len({line.split("pays")[1] for line in _text(notebook, "read").splitlines()}) > 1
    assert found["calls"] == [465, 900]
    assert found["difference"] < 1e-3


@_marked(READING)
def test_reading_an_induction_head():
    notebook, found = _ran(READING)
    previous, induction = found["scores"]["L0H0"], found["scores"]["L1H0"]
    assert previous[0] > 0.9
    assert induction[1] > 0.3
    assert induction[2] > 0.95
    assert found["broken"] < induction[1] / 4
    accuracies = found["accuracies"]
    assert accuracies[""] > 0.95
    assert accuracies["skip(1, 1)"] < 0.05
    assert accuracies["skip(0, 0)"] < 0.25
    assert accuracies["loop(0, 0, 2)"] > accuracies[""] - 0.02
    assert accuracies["loop(1, 1, 2)"] < accuracies[""] - 0.2
    assert found["itself"] > 0.95
    followed = re.findall(r"^at ('.*') it looks at '.*', which follows ('.*'):", _text(notebook, "looks"), re.M)
    assert len(followed) == 8
    assert sum(at == before for at, before in followed) >= 7  # "nearly always"
    assert found["best"][0] == "L18H6"
    assert all(name.startswith(("L17", "L18")) for name in found["best"][:4])
    full, without, others = map(float, re.findall(r"([\d.]+) nats", _text(notebook, "knock-out")))
    assert without > full + 3
    assert abs(others - full) < 1


@_marked(BIRTH)
def test_watching_it_be_born():
    notebook, found = _ran(BIRTH)
    rows = {row["step"]: row for row in found["rows"]}
    assert rows[0]["accuracy_in_context"] < 0.05
    assert rows[10]["accuracy_in_context"] > 0.25  # by repeating
    assert rows[50]["accuracy_changed"] < 0.25
    assert rows[160]["accuracy_changed"] > 0.9
    nothing, output, second, first = (found["frozen"][name] for name in ("nothing", "W_O^2", "W_K^2", "W_K^1"))
    assert max(output[key] for key in ("recall_output", "recall_early", "accuracy_changed")) < 0.1
    assert output["recall_triggers"] <= 0.4
    assert second["recall_early"] < 0.1 < nothing["recall_early"]
    assert min(first["recall_output"], first["recall_triggers"]) > 0.6
    assert found["ends"]["W_K^1"] > 0.8 > max(found["ends"]["W_O^2"], found["ends"]["W_K^2"])
    data, halves = found["data"], found["halves"]
    assert halves["outputs from the bigram"] < halves["five frequent triggers"] <= halves["random triggers"]
    assert data["rarer triggers"]["accuracy_changed"] < 0.2
    assert data["outputs from the bigram"]["recall_output"] < data["five frequent triggers"]["recall_output"] - 0.2
    written = re.findall(r"recalls ([\d.]+), ([\d.]+), ([\d.]+); accuracy ([\d.]+)", _text(notebook, "construct"))
    accuracies = [float(row[3]) for row in written]
    assert accuracies == sorted(accuracies)
    assert min(map(float, written[1][:3])) > 0.95
    assert accuracies[1] < 0.6
    assert accuracies[-1] > 0.9


@_marked(PAINTERS)
def test_the_painters_questions():
    """What the prose says was found here."""
    _, found = _ran(PAINTERS)
    alike = found["alike"]  # embedding, then layers 0 to 29
    assert min(alike[5][i] for i in range(3, 10)) > 0.9  # layer 4 and layers 2 to 8
    assert alike[5][11] < 0.6  # 4 and 10
    assert min(alike[15][i] for i in range(11, 25)) > 0.7  # 14 and layers 10 to 23
    assert alike[15][26] < 0.5 > alike[15][5]  # 14 and 25, 14 and 4
    assert alike[29][30] < 0.8
    scores = {name: row["median"] for name, row in found["scores"].items()}
    assert scores["skip 1"] > 0.8
    assert scores["skip"] > 0.5 > 0.1 > scores["skip 10"]
    assert max(found["scores"][name]["induction"] for name in ("skip", "reverse")) < 0.1
    perplexity = {name: value / found["perplexity"]["full model"] for name, value in found["perplexity"].items()}
    assert {name for name, times in perplexity.items() if times > 3} == {"0", "1", "2", "11", "28", "29"}
    assert scores["middle repeat"] < 0.5 < scores["skip"]
    assert scores["random order"] > scores["reverse"] > 0.5
    assert scores["parallel"] > scores["reverse"]
    assert min(found["scores"]["parallel"][task] for task in ("facts", "text", "ioi", "counting:2")) > 0.7
    assert found["scores"]["parallel"]["induction"] < 0.5
    assert list(found["reordered"])[:2] == ["induction", "counting:2"]
    assert min(found["reordered"][task] for task in ("facts", "text")) > 0.9
    assert min(scores["looped 2"], scores["looped 3"]) > scores["parallel"]
    assert scores["looped 3"] > scores["looped 5"]
    assert set(found["ranked"][-2:]) == {"random order", "looped 3"}
    assert found["ranked"][0] == "middle repeat"


@_marked(OWN)
def test_your_own():
    notebook, found = _ran(OWN)
    assert found["cells"] == [2, 0]
    assert found["same"] is True
    assert _text(notebook, "text").splitlines() == [
        "mirror(0, 1) + silence(1, 0)",
        "0x2 1 ['Visit(step=0, layer=0)', 'Visit(step=1, layer=0)', 'Visit(step=2, layer=1)']",
    ]
    assert _text(notebook, "compose").strip() == "0-4 6x2 4 7-11"


@_marked(ROUTE)
def test_interpretability_on_a_route():
    _, found = _ran(ROUTE)
    final = found["final"]
    assert all(final[name] == [1, 1, 1, 1] for name in ("as trained", "13-16 reversed", "13-16 twice"))
    assert min(final["10-19 reversed"]) == final["10-19 reversed"][2] > 1  # Tokyo
    trained, reversed_, ten = (found["written"][name] for name in ("as trained", "13-16 reversed", "10-19 reversed"))
    components = [name for name in trained if not name.startswith("sum")]
    assert max(components, key=lambda name: trained[name]) == "head 4 of 23"
    for head in ("head 4 of 23", "head 0 of 29", "head 1 of 29"):
        assert 0 < reversed_[head] / trained[head] < 0.8
    assert ten["head 4 of 23"] < trained["head 4 of 23"] / 3
    for wrote in (trained, reversed_, ten):
        total = wrote.pop("sum: the difference of logits")
        assert sum(wrote.values()) == pytest.approx(total, abs=1e-3)
        assert total > 0
    plain, twice = found["plain"]
    assert abs(plain - twice) < 0.5
    first, second = found["ablated"]["first visits"], found["ablated"]["second visits"]
    assert first["mlp"] < twice - 2
    assert second["mlp"] > twice - 0.2
    assert all(twice - 1.5 < times["attention"] < twice for times in (first, second))
    for where, side in (("France", -1), ("last token", 1)):
        for name, moved in (("as trained", 23), ("13-16 twice", 27)):
            line = [side * value for value in found["patched"][f"{name} / {where}"]]
            assert min(line[:moved]) > 5
            assert max(line[moved:]) < -3
    shared, unshared = found["calls"]
    assert shared < 0.6 * unshared


@pytest.mark.release
def test_your_own_as_a_plugin(tmp_path):
    """What the fifth notebook says of the command line, with its own classes in a file."""
    cells = {one.id: one.source for one in nbformat.read(export.FOLDER / f"{OWN}.ipynb", as_version=4).cells}
    register = re.search(r"```python\n(.*?)```", cells["plugin"], re.S)[1]
    (tmp_path / "my_plugin.py").write_text("\n\n".join([*map(cells.get, ("imports", "mirror", "analysis")), register]))
    command = re.search(r"```sh\nmechpaint (.*)\n", cells["plugin"])[1].split()
    arguments = [sys.executable, "-c", "from mechpaint.cli import main; main()", *command, "--limit", "4", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.rglob("scores.csv")
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == [
        *("label", "baseline", "without 0", "without 1", "mirrored 0-1"),
    ]


def _small(folder, monkeypatch, code):
    """One small notebook in place of all."""
    prose = nbformat.v4.new_markdown_cell("[next](2_next.ipynb), [about](../README.md)")
    notebook = nbformat.v4.new_notebook(cells=[prose, nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, folder / "1_small.ipynb")
    monkeypatch.setattr(export, "notebooks", lambda: [folder / "1_small.ipynb"])


def test_main_writes_pages_with_results(tmp_path, monkeypatch, capsys):
    code = "import mechpaint, os, sys\nprint(mechpaint.__file__, sys.executable, os.getcwd(), 6 * 7)"
    _small(tmp_path, monkeypatch, code)
    out = tmp_path / "pages"
    export.main(out, [])
    assert capsys.readouterr().out == f"{out / '1_small.html'}\n"
    page = (out / "1_small.html").read_text("utf-8")
    shown = re.search(r"<pre>(.*?)</pre>\n</div>", page[page.index('class="jp-RenderedText') :], re.S)[1].split()
    assert shown[:2] == [str(ROOT / "mechpaint" / "__init__.py"), sys.executable]
    assert Path(shown[2]) not in (ROOT, tmp_path)
    assert shown[3] == "42"
    assert 'href="2_next.html"' in page
    (about,) = re.findall(r'href="([^"]*README.md)"', page)
    assert (out / about).resolve() == ROOT / "README.md"
    assert page.count("<script") == 0


def test_a_notebook_that_fails_leaves_no_page(tmp_path, monkeypatch):
    from nbclient.exceptions import CellExecutionError

    _small(tmp_path, monkeypatch, "raise ValueError('on purpose')")
    with pytest.raises(CellExecutionError, match="on purpose"):
        export.main(tmp_path / "pages", ["1_small"])
    assert not (tmp_path / "pages").exists()


def test_main_refuses_a_name_that_is_none(tmp_path):
    with pytest.raises(SystemExit, match="there is no notebook 'six'; there are: 1_first_session, 2_"):
        export.main(tmp_path / "pages", ["six"])
    assert not (tmp_path / "pages").exists()


@pytest.mark.parametrize("name", RUN)
def test_the_page_in_a_browser(name, tmp_path, chromium):
    """From disk it asks no host for anything and says nothing; it fits a phone; its links lead somewhere."""
    notebook, _ = _ran(name)
    path = tmp_path / f"{name}.html"
    path.write_text(export.page(notebook, tmp_path), encoding="utf-8")
    for width in (390, 1400):
        with chromium.open(path, (width, 900)) as opened:
            page = opened.page
            for frame in page.locator("iframe").all():
                frame.scroll_into_view_if_needed()
                _choose_a_head(frame.content_frame)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert all(image.get_attribute("alt") for image in page.locator("img").all())
            for link in page.locator("main a[href^='..']").all():
                assert (tmp_path / link.get_attribute("href")).resolve().exists()
            assert page.title() == notebook.metadata.title
            opened.check_quiet()


def _choose_a_head(frame):
    """Point at a head and it is shown large, until one points elsewhere; choose it, and it stays."""
    from playwright.sync_api import expect

    view = frame.locator(".view").first
    heads, elsewhere = view.locator("canvas"), view.locator("h3").first
    expect(heads.nth(2)).to_be_attached()  # one for each head, and the large one
    first, second = view.locator("h4").nth(0).inner_text(), view.locator("h4").nth(1).inner_text()
    heads.nth(1).hover()
    expect(view.get_by_text(f"{second} Zoomed")).to_be_visible()
    elsewhere.hover()
    expect(view.get_by_text(f"{first} Zoomed")).to_be_visible()
    heads.nth(1).click()
    elsewhere.hover()
    expect(view.get_by_text(f"{second} Zoomed")).to_be_visible()
