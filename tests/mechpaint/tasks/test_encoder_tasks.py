"""The tasks of encoders, against plain Hugging Face, one row at a time."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import tokenizers
import torch
import transformers as hf

import mechpaint as mp
from mechpaint.analyses.painters import Painters
from mechpaint.errors import LoadError, TaskError
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.runs.execute import run
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.scoring.embeddings import mean_over_tokens
from mechpaint.scoring.score import score_items
from mechpaint.tasks import Facts, Masked, MaskedTokens, Pair, Similarity, Text
from tests import plain, tiny

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = "the a cat dog bird child sees hears likes finds small old red house river tree song day night and near".split()
ROUTES = {"0-5": [0, 1, 2, 3, 4, 5], "0 (1-3)x2 5": [0, (1, 2, 3), (1, 2, 3), 5], "0 4-1 5": [0, 4, 3, 2, 1, 5]}
TREE = PrefixTree(Route.parse(text, tiny.N_LAYERS) for text in ROUTES)


def _tokenizer(mask=True):
    ids = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL if mask or name != "[MASK]"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=made, **named)


def _body():
    """A bare BERT, the same at every call."""
    return tiny.module("bert").bert


def _sentence(rng, length):
    return " ".join(rng.choice(WORDS, size=length))


@pytest.fixture(scope="module")
def encoder():
    """A tiny BERT with its masked-language-model head, that reads words."""
    return mp.load(tiny.module("bert"), tokenizer=_tokenizer())


@pytest.fixture(scope="module")
def bare():
    """A tiny BERT without a head."""
    return mp.load(_body(), tokenizer=_tokenizer())


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Sentences of different lengths, one too long for the tiny model and one too short to mask."""
    rng = np.random.default_rng(0)
    rows = [_sentence(rng, int(length)) for length in rng.integers(5, 30, size=40)]
    rows[7], rows[11] = _sentence(rng, 80), "a cat"
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"number": i, "words": row}) for i, row in enumerate(rows)))
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pairs of sentences that have some words in common, and which share."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(60):
        words, changed = rng.choice(WORDS, size=8), int(rng.integers(0, 9))
        other = [*rng.choice(WORDS, size=changed), *words[changed:], *(["and"] * int(rng.integers(0, 4)))]
        rows.append({"sentence1": " ".join(words), "sentence2": " ".join(other), "label": (8 - changed) / 2, "idx": i})
    path = tmp_path_factory.mktemp("data") / "pairs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_masked_rows_are_the_texts_with_some_tokens_masked(encoder, texts):
    rows = [json.loads(line)["words"] for line in texts.read_text().splitlines()]
    selection = MaskedTokens(str(texts)).select(encoder)
    assert (selection.too_long, selection.too_short) == (("row 8",), ("row 12",))
    assert {item.name for item in selection.items} == {f"row {i}" for i in range(1, 41)} - {"row 8", "row 12"}
    for item in selection.items:
        whole = list(item.tokens)
        assert {whole[at] for at in item.positions} == {4}
        assert whole.count(4) == len(item.positions) == max(1, round(0.15 * (len(whole) - 2)))
        for at, token in zip(item.positions, item.targets, strict=True):
            whole[at] = token
        words = rows[int(item.name.removeprefix("row ")) - 1].split()
        assert encoder.tokenizer.convert_ids_to_tokens(whole) == ["[CLS]", *words, "[SEP]"]


def test_items_are_decided_by_the_seed(encoder, texts, pairs):
    for task in (MaskedTokens(str(texts)), Similarity(str(pairs))):
        items = task.items(encoder)
        assert task.items(encoder, limit=10) == items[:10]
        assert task.items(encoder, limit=10, seed=1) != items[:10]
        assert len({item.name for item in items}) == len(items)
    half = MaskedTokens(str(texts), share=0.5).items(encoder, limit=10)
    assert [len(i.positions) for i in half] == [round(0.5 * (len(i.tokens) - 2)) for i in half]


def test_masked_tokens_are_scored_as_one_row_at_a_time(encoder, texts):
    task = MaskedTokens(str(texts))
    items = task.items(encoder, limit=8)
    by_key = {(r["item"], r["route"]): r for r in score_items(encoder, task, items, TREE, batch_size=5)}
    assert len(by_key) == 8 * len(ROUTES)
    module = tiny.module("bert")
    right = dict.fromkeys(ROUTES, 0)
    for item in items:
        for text, steps in ROUTES.items():
            logprobs = plain.logits(module, torch.tensor([item.tokens]), steps)[0].log_softmax(-1)
            at, targets = list(item.positions), list(item.targets)
            record = by_key[item.name, text]
            assert record["logprob"] == pytest.approx(logprobs[at, targets].sum().item(), abs=1e-3)
            hits = (logprobs[at].argmax(-1) == torch.tensor(targets)).sum().item()
            assert record["score"] == pytest.approx(hits / len(at))
            assert record["tokens"] == len(at)
            right[text] += hits
    tokens = sum(len(item.positions) for item in items)
    scores = np.array([[by_key[item.name, text]["score"] for text in ROUTES] for item in items])
    overall = task.metric(items)([item.name for item in items], scores)
    assert overall == pytest.approx([hits / tokens for hits in right.values()])
    asked = [token for item in items for token in item.targets]
    assert task.chance(encoder, items) == max(map(asked.count, asked)) / len(asked)


def _last_hidden_state(module, tokens, steps):
    """By a plain loop over the layers of a bare BERT, for one row."""
    with torch.no_grad():
        stream = module.embeddings(tokens)
        for step in steps:
            outputs = [module.encoder.layer[i](stream) for i in ([step] if isinstance(step, int) else step)]
            outputs = [out[0] if isinstance(out, tuple) else out for out in outputs]
            stream = torch.stack(outputs).mean(0)
    return stream


def test_pairs_are_compared_as_one_text_at_a_time(bare, pairs):
    task = Similarity(str(pairs))
    items = task.items(bare, limit=20)
    by_key = {(r["item"], r["route"]): r for r in score_items(bare, task, items, TREE, batch_size=10)}
    module = _body()
    cosines = np.zeros((len(items), len(ROUTES)))
    for i, item in enumerate(items):
        for j, (text, steps) in enumerate(ROUTES.items()):
            first, second = (
                _last_hidden_state(module, torch.tensor([row]), steps)[0].mean(0) for row in (item.first, item.second)
            )
            cosines[i, j] = (first @ second / first.norm() / second.norm()).item()
            record = by_key[item.name, text]
            assert record["score"] == pytest.approx(cosines[i, j], abs=1e-5)
            assert math.isnan(record["logprob"])
            assert (record["tokens"], record["finite"]) == (0, True)
    given = pd.Series([item.similarity for item in items])
    expected = [pd.Series(column).rank().corr(given.rank()) for column in cosines.T]
    overall = task.metric(items)([item.name for item in items], cosines)
    assert overall == pytest.approx(expected)
    assert task.chance(bare, items) == 0


def test_pairs_are_the_rows_of_the_source(bare, pairs):
    rows = pd.read_csv(pairs)
    for item in Similarity(str(pairs)).items(bare, limit=20):
        row = rows.iloc[int(item.name.removeprefix("row ")) - 1]
        for ids, text in ((item.first, row.sentence1), (item.second, row.sentence2)):
            assert bare.tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", *text.split(), "[SEP]"]
        assert item.similarity == row.label


def test_padding_is_no_part_of_a_mean():
    residual = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [math.nan, math.inf]]])
    mask = torch.tensor([[1, 1], [1, 0]])
    assert mean_over_tokens(residual, mask).tolist() == [[2, 3], [5, 6]]


def test_what_is_no_number_is_marked(pairs):
    broken = mp.load(tiny.module("bert"), tokenizer=_tokenizer())
    with torch.no_grad():
        broken.original_model.bert.encoder.layer[3].original_component.output.dense.weight.fill_(float("nan"))
    task = Similarity(str(pairs))
    tree = PrefixTree([Route.parse("0-5", 6), Route.parse("0-2 4-5", 6)])
    for record in score_items(broken, task, task.items(broken, limit=3), tree):
        through = record["route"] == "0-5"
        assert record["finite"] is not through
        assert math.isnan(record["score"]) is through


def test_models_that_a_task_is_not_for_are_refused_with_what_is(encoder, bare, speaking, texts, pairs):
    masked = MaskedTokens(str(texts))
    for task, model, words in (
        (Facts(), encoder, "the task facts asks which token comes next, and BertForMaskedLM reads in both directions; "
                           "tasks for it: mlm, such as --task mlm:FILE, sts"),
        (Text(), bare, "BertModel has no unembedding; tasks for it: sts, such as --task sts:FILE"),
        (masked, bare, "the task mlm asks which tokens are masked, and BertModel has no unembedding; .* sts"),
        (masked, speaking, "LlamaForCausalLM is a causal model; tasks for it: facts, hops, ioi, induction"),
        (masked, mp.load(tiny.module("bert"), tokenizer=_tokenizer(mask=False)), "tokenizer has no mask token"),
    ):  # fmt: skip
        with pytest.raises(TaskError, match=words):
            task.items(model)
    for task in (masked, Similarity(str(pairs))):
        with pytest.raises(LoadError, match=f"the task {task.name} needs a tokenizer"):
            task.items(mp.load(tiny.module("bert")))
    assert Similarity(str(pairs)).items(speaking, limit=3)  # any model has a residual stream


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: MaskedTokens(), r"knows \d+% of the characters of mlm: expected text of the kind"),
        (lambda path: MaskedTokens(str(path), share=1.0), "share of the tokens between 0 and 1, got 1.0"),
        (lambda path: MaskedTokens(str(path), column="none"), "the column 'none' of .* does not hold text; it has: a"),
        (lambda path: MaskedTokens(str(path)), r"mlm:.* has no items: all 1 are longer than the model's 64 tokens"),
        (lambda path: MaskedTokens(str(path.with_name("none.txt"))), "there is no file"),
        (lambda path: Similarity(str(path)), "has the columns a: expected texts in sentence1 and sentence2, and a num"),
        (
            lambda path: Similarity.from_argument(None),
            "--task sts:FILE, with the columns sentence1, sentence2 and score",
        ),
    ],
)
def test_sources_that_do_not_fit_are_refused(encoder, tmp_path, make, words):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"a": "the cat " * 40}))
    with pytest.raises(TaskError, match=words):
        make(path).items(encoder)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Masked("a", (1, 2), (), ()),
        lambda: Masked("a", (1, 2), (0,), (1, 2)),
        lambda: Pair("a", (), (1,), 0.5),
        lambda: Pair("a", (1,), (1,), math.nan),
    ],
)
def test_items_that_cannot_be_asked_are_refused(make):
    with pytest.raises(TaskError, match="item 'a' has"):
        make()


def test_what_stands_after_the_colon():
    assert MaskedTokens.from_argument(None) == MaskedTokens()
    assert MaskedTokens.from_argument("a.csv#words") == MaskedTokens("a.csv", "words")
    assert str(MaskedTokens("a.csv", "words")) == "mlm:a.csv#words"
    assert str(Similarity.from_argument("b.csv")) == "sts:b.csv"


@pytest.mark.release
def test_the_painters_on_an_encoder(encoder, texts, pairs, tmp_path):
    """Both tasks at once: one with perplexities, one without; counted, computed, reported."""
    tasks = (MaskedTokens(str(texts)), Similarity(str(pairs)))
    plan = RoutePlan.of(Painters(start_layers=(1,), seeds=1), RoutedModel(encoder, "tiny"), Settings(tasks))
    forecast = plan.forecast()
    assert forecast["items"] == {str(tasks[0]): 38, str(tasks[1]): 60}
    assert forecast["minutes"] >= 0
    finished = run(plan, tmp_path, "mechpaint analyze painters")
    assert finished.work.cells == 4
    table = pd.read_parquet(finished.path / "results.parquet")
    assert len(table) == (38 + 60) * len(plan.tree.routes)
    text = (finished.path / "report.md").read_text()
    assert "1 items of mlm:" in text
    assert "left out: row 8." in text
    assert "too little text in 1: row 12" in finished.page.read_text()
    assert "| Spearman's correlation with given similarities | 60 | 0.000 |" in text
