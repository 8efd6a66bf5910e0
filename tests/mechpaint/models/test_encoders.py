"""The presets that are encoders: what they say."""

from __future__ import annotations

import re

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint import models
from mechpaint.models.presets import encoders
from mechpaint.routes.route import Route
from tests import plain

REACTION = "CC(C)(C)OC(=O)O[C@@H]1CC[nH]1.Br[Si]%12Cl.[Na+].c1ccc%(123)C=%12/N\\F>>CC(C)(C)OC(=O)n1c2cc@(C(C)=O)cc2cc1*"
REACTION_TOKENS = (
    "C C ( C ) ( C ) O C ( = O ) O [C@@H] 1 C C [nH] 1 . Br [Si] %12 Cl . [Na+] . c 1 c c c %(123) C = %12 / N \\ F >> "
    "C C ( C ) ( C ) O C ( = O ) n 1 c 2 c c @ ( C ( C ) = O ) c c 2 c c 1 *"
).split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL, *sorted(set(REACTION_TOKENS) - {"[Si]"})]


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


@pytest.mark.models
def test_reactions_are_read_as_the_package_reads_them(tmp_path, monkeypatch):
    """All of its vocabulary, and BERT's own tokenizer of words on what the package's regular expression splits."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path))
    models.get("rxnfp")
    model = mp.load("rxnfp")
    listed = list(model.tokenizer.get_vocab())
    listed.sort(key=model.tokenizer.get_vocab().get)
    assert len(listed) == 591
    for text in (REACTION, "OB(O)c1ccc2c(c1)OCO2.CC#N>>[MASK]1cc~1", "[13CH3:1]I>[OH-]>[13CH3:1]O"):
        split = ["[CLS]", *_read_as_the_package_does(text), "[SEP]"]
        expected = [listed.index(token) if token in listed else listed.index("[UNK]") for token in split]
        assert model.to_tokens(text).tolist() == [expected]


@pytest.mark.models
def test_rxnfp_predicts_reactions_as_plain_transformers_does(tmp_path, monkeypatch):
    """Converted anew. The nitrogen that an aniline keeps is certain; and without layers 5 and 6 it still is."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path))
    models.get("rxnfp")
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


@pytest.mark.models
def test_minilm_knows_what_means_the_same(tmp_path, monkeypatch):
    """Unpacked anew, against plain transformers; and the mean of its last states ranks sentences."""
    monkeypatch.setenv("MECHPAINT_CACHE", str(tmp_path))
    models.get("minilm")
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
