"""Single gradient steps from zero, and what they store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from mechpaint.analyses.memories.associations import keep_associations, own_token_margin, sharpen
from mechpaint.analyses.memories.limit import limit_model
from mechpaint.analyses.memories.measuring import ACCURACY, CHANGED, RECALLS, REPEATS, accuracies, recalls
from mechpaint.analyses.memories.records import Setting, cost
from mechpaint.analyses.memories.sources import batches
from mechpaint.analysis import Advance, Record
from mechpaint.toy.gradients import TOP_DOWN, FirstStep, step, zero
from mechpaint.toy.memories import Learned, learned, memory_scores, recall
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer

FIRST_STEP, STEPS = "first step", "steps"
DOWN, UP, LARGER, MORE = "top-down", "bottom-up", "ten times larger steps", "four times the sequences"
VARIANTS: Mapping[str, tuple[tuple[Learned, ...], float, int]] = {
    # in which order, how much larger, over how many times the sequences
    DOWN: (TOP_DOWN, 1.0, 1),
    UP: (TOP_DOWN[::-1], 1.0, 1),
    LARGER: (TOP_DOWN, 10.0, 1),
    MORE: (TOP_DOWN, 1.0, 4),
}
SMALL: Mapping[Learned, float] = {"W_O^2": 0.3, "W_K^2": 0.03, "W_K^1": 0.03}
"""How sharp each step makes its memory: the next gradient is what theory says it is only while predictions and
attention are close to uniform. Of what a step on keys stores, the right answers are a small part, so theirs is less."""

SHARPENED, ALONE = "sharpened", "associations alone"
ITSELF = "own token over right answer"


@dataclass(frozen=True)
class FirstSteps:
    """The first gradient step on W_O² from the idealised start: counted once, it holds for every dimension.

    Args:
        setting: The data, in the limit.
        dims: The finite dimensions besides.
        seeds: How many random models of each.
        sequences: How many the step is counted over.
    """

    setting: Setting
    dims: tuple[int, ...]
    seeds: int
    sequences: int

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{FIRST_STEP} {self.setting.source} length={self.setting.length}"

    @property
    def ticks(self) -> int:
        """A few for each batch."""
        return 3 * batches(self.sequences, self.setting.length)

    def measure(self, advance: Advance) -> Iterator[Record]:
        """The recall of W_O² in the limit and in every random model."""
        at = self.setting
        sequences = at.source.sequences(self.sequences, at.length, at.seed, lambda: advance(3))
        found = FirstStep.of(sequences, at.source.task.chain.vocabulary)
        yield self._record(at, found.limit_recall())
        for dim in self.dims:
            for seed in range(self.seeds):
                advance(0)
                model = SimplifiedTransformer(SimplifiedConfig(dim=dim, length=at.length, seed=seed))
                with torch.no_grad():
                    learned(model, "W_O^2").copy_(found.memory(model))
                yield self._record(replace(at, dim=dim, seed=seed), recall(memory_scores(model, "W_O^2")))

    def _record(self, at: Setting, value: float) -> Record:
        return at.record(FIRST_STEP, "", 0.0, "W_O^2", RECALLS["W_O^2"], value)


@dataclass(frozen=True)
class ThreeSteps:
    """One gradient step on each matrix in turn, from where all are zero.

    Args:
        setting: The model and its data.
        variant: Which of `VARIANTS`.
        sequences: How many each step is taken over, unless the variant takes more.
        sharpness: To what all memories are scaled in the end, to see whether they would make a head.
        tokens: How many held-out tokens to test on.
    """

    setting: Setting
    variant: str
    sequences: int
    sharpness: float
    tokens: int

    @property
    def label(self) -> str:
        """What it is called."""
        other = "" if self.variant == DOWN else f", {self.variant}"
        return f"three {STEPS} {self.setting}{other}"

    @property
    def ticks(self) -> int:
        """Later steps reach further down, and cost more."""
        _, _, more = VARIANTS[self.variant]
        return 9 * batches(more * self.sequences, self.setting.length) * self._cost

    def measure(self, advance: Advance) -> Iterator[Record]:
        """After each step what the model recalls and gets right; in the end, with all memories made sharp."""
        at, (order, larger, more) = self.setting, VARIANTS[self.variant]
        model = self._model()
        zero(model)
        tests = at.source.held_out(self.tokens, at.length, at.seed)
        for matrix in order:
            ticks = (2 + TOP_DOWN.index(matrix)) * self._cost
            sequences = at.source.sequences(more * self.sequences, at.length, at.seed, lambda t=ticks: advance(t))
            sharpness = larger * SMALL[matrix]
            step(model, matrix, sequences, sharpness)
            found = accuracies(model, tests, lambda: advance(0)) | recalls(model, tests)
            for probe in (ACCURACY, CHANGED, REPEATS, *RECALLS.values()):
                yield self._record(sharpness, matrix, probe, found[probe])
            if matrix != "W_O^2":
                yield self._record(sharpness, matrix, ITSELF, own_token_margin(model, matrix) / sharpness)
        for stage in (SHARPENED, ALONE):
            if stage == ALONE:
                keep_associations(model)
            sharpen(model, self.sharpness)
            found = accuracies(model, tests, lambda: advance(0))
            for probe in (ACCURACY, CHANGED):
                yield self._record(self.sharpness, stage, probe, found[probe])

    @property
    def _cost(self) -> int:
        return cost(self.setting.dim or 384)  # about what the limit is computed in

    def _model(self) -> SimplifiedTransformer:
        at, vocabulary = self.setting, self.setting.source.task.chain.vocabulary
        if at.dim == Setting.LIMIT:
            return limit_model(vocabulary, at.length)
        return SimplifiedTransformer(SimplifiedConfig(vocabulary, at.dim, at.length, seed=at.seed))

    def _record(self, sharpness: float, stage: str, probe: str, value: float) -> Record:
        return self.setting.record(STEPS, self.variant, sharpness, stage, probe, value)
