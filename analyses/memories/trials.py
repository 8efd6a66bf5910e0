"""All trials of the analysis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mechpaint.analyses.memories.constructing import CONSTRUCTION, SHARPNESS, Construction
from mechpaint.analyses.memories.records import Setting, Trial
from mechpaint.analyses.memories.sources import FIXED, RANDOM, REAL, SOURCES, UNIFORM, Source
from mechpaint.analyses.memories.stepping import DOWN, LARGER, MORE, UP, FirstSteps, ThreeSteps

if TYPE_CHECKING:
    from mechpaint.analyses.memories import Memories

SHARPNESSES = (3.0, 10.0, 30.0, 100.0)
"""Compared at the middle width and the shortest length."""


def suite(memories: Memories) -> dict[str, Trial]:
    """All trials by label, the longest first, so that processors finish together."""
    trials = [*_constructions(memories), *_sharpnesses(memories), *_first_steps(memories), *_steps(memories)]
    return {trial.label: trial for trial in sorted(trials, key=lambda trial: -trial.ticks)}


def middle(numbers: tuple[int, ...]) -> int:
    """The median of some numbers, the larger of two."""
    return sorted(numbers)[len(numbers) // 2]


def _constructions(memories: Memories) -> Iterator[Trial]:
    for dim in memories.dims:
        for length in memories.lengths:
            for triggers in (FIXED, RANDOM):
                for seed in range(memories.seeds):
                    at = Setting(Source(REAL, triggers), dim, length, seed)
                    yield Construction(CONSTRUCTION, at, (memories.sharpness,), memories.test_tokens)


def _sharpnesses(memories: Memories) -> Iterator[Trial]:
    for triggers in (FIXED, RANDOM):
        for seed in range(memories.seeds):
            at = Setting(Source(REAL, triggers), middle(memories.dims), min(memories.lengths), seed)
            yield Construction(SHARPNESS, at, SHARPNESSES, memories.test_tokens)


def _first_steps(memories: Memories) -> Iterator[Trial]:
    for source in SOURCES:
        at = Setting(source, Setting.LIMIT, min(memories.lengths), 0)
        yield FirstSteps(at, memories.dims, memories.seeds, memories.first_sequences)


def _steps(memories: Memories) -> Iterator[Trial]:
    """Top-down steps for all data, widths and seeds; each variation for one of them."""

    def trial(source: Source, dim: int, seed: int, variant: str) -> Trial:
        at = Setting(source, dim, min(memories.lengths), seed)
        return ThreeSteps(at, variant, memories.step_sequences, memories.sharpness, memories.test_tokens)

    theory, hardest = Source(UNIFORM, RANDOM), Source(REAL, RANDOM)
    for seed in range(memories.seeds):
        for dim in (Setting.LIMIT, *memories.step_dims):
            for source in SOURCES:
                yield trial(source, dim, seed, DOWN)
        yield trial(theory, min(memories.step_dims), seed, UP)
    yield trial(theory, Setting.LIMIT, 0, UP)
    yield trial(theory, Setting.LIMIT, 0, MORE)
    yield trial(hardest, Setting.LIMIT, 0, LARGER)
