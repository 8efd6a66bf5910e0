"""Training conditions: figure 3 with matrices frozen, figure 4 with other data, and one layer against two."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mechpaint.statistics.results import Advance, Record
from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.chains import Chain
from mechpaint.toy.freezing import Freeze
from mechpaint.toy.full import FullConfig, FullTransformer
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer
from mechpaint.toy.training import AdamW, Sgd, Training, train

if TYPE_CHECKING:
    from mechpaint.analyses.birth import Birth

FREEZING = "freezing"
DATA = "data"
DEPTH = "depth"
LENGTH = "length"
UNIFORM = "tested on uniform outputs"
HELD_OUT = "tested on held-out outputs"
_HELD_OUT_TOKENS = tuple(range(0, 65, 5))
"""A fifth of the characters, spread over the alphabet, that are no outputs where a condition holds some out."""


@dataclass(frozen=True)
class Condition:
    """One way to train, of the figure `group`; `also` are further tasks to test on."""

    group: str
    name: str
    model: SimplifiedConfig | FullConfig
    task: BigramTask
    training: Training
    also: Mapping[str, BigramTask] = field(default_factory=dict[str, BigramTask])


def conditions(birth: Birth, seed: int) -> dict[str, Condition]:
    """All conditions of one seed, by label."""
    made = [*_freezing(birth, seed), *_data(birth, seed), *_depth(birth, seed), _long(birth, seed)]
    return {f"{condition.group}: {condition.name}": condition for condition in made}


def digest(birth: Birth) -> str:
    """Digest all conditions into twelve hexadecimal digits."""
    facts = [
        (label, made.model, made.task.settings(), made.training, {name: t.settings() for name, t in made.also.items()})
        for label, made in conditions(birth, 0).items()
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def measure(birth: Birth, name: str, seed: int, advance: Advance) -> list[Record]:
    """Train under one condition; a record for each probe and probed step."""
    made = conditions(birth, seed)[name]
    simplified = isinstance(made.model, SimplifiedConfig)
    model = SimplifiedTransformer(made.model) if simplified else FullTransformer(made.model)
    history = train(model, made.task, made.training, advance=advance, also=made.also)
    same = {"group": made.group, "condition": made.name, "seed": seed}
    return [
        {**same, "step": int(row["step"]), "probe": probe, "value": float(value)}
        for row in history.rows
        for probe, value in row.items()
        if probe != "step"
    ]


def _freezing(birth: Birth, seed: int) -> list[Condition]:
    """Figure 3: fixed triggers, loss at their later occurrences only, no feed-forward."""
    until = birth.freeze_until
    frozen = {
        "nothing": (),
        "W_O^2": ("W_O^2",),
        "W_K^2": ("W_K^2",),
        "W_K^1": ("W_K^1",),
        "W_K^1 and W_K^2": ("W_K^1", "W_K^2"),
    }
    # slower than the trainer's defaults, to separate what is learned first from what follows
    training = Training(steps=birth.steps, optimizer=Sgd(lr=0.2, momentum=0.9), seed=seed, test_size=128)
    return [
        Condition(
            FREEZING,
            name,
            SimplifiedConfig(seed=seed),
            BigramTask(Chain.shakespeare()),
            replace(training, freeze=tuple(Freeze(matrix, until) for matrix in matrices)),
        )
        for name, matrices in frozen.items()
    ]


def _data(birth: Birth, seed: int) -> list[Condition]:
    """Figure 4: all learned matrices trained on all tokens, with a linear feed-forward for the global bigrams."""
    usual = BigramTask(Chain.shakespeare())
    some = replace(usual, held_out=_HELD_OUT_TOKENS)
    tasks = {
        "5 fixed triggers": usual,
        "1 fixed trigger": replace(usual, triggers=1),
        "5 rarer fixed triggers": replace(usual, offset=10),
        "5 random triggers": replace(usual, fixed=False),
        "bigram outputs": replace(some, outputs="bigram"),
        "uniform outputs, some held out": some,
    }
    training = Training(steps=birth.steps, batch=32, loss="all", seed=seed, probe_every=20, test_size=128)
    also = {UNIFORM: usual, HELD_OUT: some.held_out_test()}
    return [
        Condition(
            DATA,
            name,
            SimplifiedConfig(feed_forward=True, seed=seed),
            task,
            training,
            also if task.held_out else {},
        )
        for name, task in tasks.items()
    ]


def _depth(birth: Birth, seed: int) -> list[Condition]:
    """The appendix: full transformers of one and of two layers."""
    training = Training(steps=birth.steps, batch=32, optimizer=AdamW(), seed=seed, probe_every=20, test_size=128)
    return [
        Condition(DEPTH, name, FullConfig(layers=layers, seed=seed), BigramTask(Chain.shakespeare()), training)
        for name, layers in (("one layer", 1), ("two layers", 2))
    ]


def _long(birth: Birth, seed: int) -> Condition:
    """Figure 3, right: sequences long enough for early and late positions to differ."""
    training = Training(steps=birth.steps // 2, seed=seed, test_size=64)
    return Condition(
        LENGTH, "sequences of 128", SimplifiedConfig(length=128, seed=seed), BigramTask(Chain.shakespeare()), training
    )
