"""Tiny models that read words, and sentences whose label anyone can see."""

from __future__ import annotations

import random

import tokenizers
import torch
import transformers as hf

import mechpaint as mp
from mechpaint.finetuning import Benchmark, Example, Labelled
from tests import tiny

GOOD = "fine lovely".split()
BAD = "poor dreadful".split()
PLAIN = "the film was today".split()
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
ONE = Benchmark(("sentence",), 2, ("accuracy",))
PAIR = Benchmark(("sentence1", "sentence2"), 2, ("accuracy",))
NUMBER = Benchmark(("sentence1", "sentence2"), 1, ("Spearman", "Pearson"))


def tokenizer():
    """A token a word."""
    words = {word: i for i, word in enumerate([*SPECIAL, *GOOD, *BAD, *PLAIN])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def reader(name: str):
    """A bridge on the tiny model of that name with this tokenizer."""
    return mp.load(tiny.module(name), tokenizer=tokenizer())


def _sentence(rng: random.Random, good: bool) -> str:
    words = rng.sample(PLAIN, rng.randint(1, 3))
    words.insert(rng.randrange(len(words)), rng.choice(GOOD if good else BAD))
    return " ".join(words)


def opinions(count: int, seed: int = 0) -> tuple[Example, ...]:
    """One sentence each: 1 if it praises."""
    rng = random.Random(seed)
    labels = [rng.random() < 0.5 for _ in range(count)]
    return tuple(Example(str(i), (_sentence(rng, good),), float(good)) for i, good in enumerate(labels))


def agreements(count: int, benchmark: Benchmark = PAIR, seed: int = 0) -> tuple[Example, ...]:
    """Two sentences each: how many praise (a regression), or whether the second one does."""
    rng = random.Random(seed)
    found: list[Example] = []
    for i in range(count):
        both = [rng.random() < 0.5 for _ in range(2)]
        label = float(sum(both)) if benchmark.labels == 1 else float(both[1])
        found.append(Example(str(i), tuple(_sentence(rng, good) for good in both), label))
    return tuple(found)


def labelled(examples: tuple[Example, ...], benchmark: Benchmark, validation: int = 40) -> Labelled:
    """Some of them to validate on."""
    return Labelled(benchmark, examples[validation:], examples[:validation], "made up")


def weights(model) -> dict[str, torch.Tensor]:
    """A copy of all weights."""
    return {name: tensor.detach().clone() for name, tensor in model.original_model.state_dict().items()}


def same(model, before: dict[str, torch.Tensor]) -> bool:
    """Whether a model has exactly these weights."""
    after = model.original_model.state_dict()
    return after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def encoder():
    """A tiny BERT without a head, of 4 layers, with this tokenizer."""
    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=len(SPECIAL) + len(GOOD) + len(BAD) + len(PLAIN), hidden_size=32, num_hidden_layers=4,
        num_attention_heads=4, intermediate_size=48, max_position_embeddings=34, initializer_range=0.1,
    )  # fmt: skip
    return mp.load(hf.BertModel(config), tokenizer=tokenizer())
