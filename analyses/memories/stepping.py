"""Single gradient steps from zero, and the memories they store."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from mechpaint.analyses.memories.measuring import ACCURACY, CHANGED, RECALLS, REPEATS, accuracies, recalls
from mechpaint.analyses.memories.records import Setting, cost
from mechpaint.analyses.memories.sources import batches
from mechpaint.statistics.results import Advance, Record
from mechpaint.toy.construction import mean_square, outer_products
from mechpaint.toy.gradients import TOP_DOWN, FirstStep, margin, step, zero
from mechpaint.toy.probes import Learned, learned, memory_scores, recall
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer

FIRST_STEP, STEPS = "first step", "steps"
DOWN, UP, LARGER, MORE = "top-down", "bottom-up", "ten times larger steps", "four times the sequences"

VARIANTS: Mapping[str, tuple[tuple[Learned, ...], float, int]] = {
    # order, step size factor, sequences factor
    DOWN: (TOP_DOWN, 1.0, 1),
    UP: (TOP_DOWN[::-1], 1.0, 1),
    LARGER: (TOP_DOWN, 10.0, 1),
    MORE: (TOP_DOWN, 1.0, 4),
}

SMALL: Mapping[Learned, float] = {"W_O^2": 0.3, "W_K^2": 0.03, "W_K^1": 0.03}
"""The sharpness that each step gives its memory. The theory of the next gradient holds only while predictions and
attention stay close to uniform; of what a step on keys stores, right answers are a small part, so theirs is lower."""

SHARPENED, ALONE = "sharpened", "associations alone"
ITSELF = "own token over right answer"


@dataclass(frozen=True)
class FirstSteps:
    """The first gradient step on W_O² from the idealised start, counted once for the limit and all finite `dims`."""

    setting: Setting
    dims: tuple[int, ...]
    seeds: int
    sequences: int

    @property
    def label(self) -> str:
        """The name of the trial."""
        return f"{FIRST_STEP} {self.setting.source} length={self.setting.length}"

    @property
    def ticks(self) -> int:
        """Three ticks a batch."""
        return 3 * batches(self.sequences, self.setting.length)

    def measure(self, advance: Advance) -> Iterator[Record]:
        """Measure the recall of W_O² in the limit and in each random model."""
        at = self.setting
        sequences = at.source.sequences(self.sequences, at.length, at.seed, lambda: advance(3))
        first = FirstStep.of(sequences, at.source.task.chain.vocabulary)
        yield self._record(at, first.limit_recall())
        for dim in self.dims:
            for seed in range(self.seeds):
                advance(0)
                model = SimplifiedTransformer(SimplifiedConfig(dim=dim, length=at.length, seed=seed))
                with torch.no_grad():
                    learned(model, "W_O^2").copy_(first.memory(model))
                yield self._record(replace(at, dim=dim, seed=seed), recall(memory_scores(model, "W_O^2")))

    def _record(self, at: Setting, value: float) -> Record:
        return at.record(FIRST_STEP, "", 0.0, "W_O^2", RECALLS["W_O^2"], value)


@dataclass(frozen=True)
class ThreeSteps:
    """One gradient step on each matrix in turn, from all zero; then all memories are scaled to `sharpness`."""

    setting: Setting
    variant: str
    sequences: int
    sharpness: float
    tokens: int

    @property
    def label(self) -> str:
        """The name of the trial."""
        other = "" if self.variant == DOWN else f", {self.variant}"
        return f"three {STEPS} {self.setting}{other}"

    @property
    def ticks(self) -> int:
        """Ticks; later steps reach further down and cost more."""
        _, _, more = VARIANTS[self.variant]
        return 9 * batches(more * self.sequences, self.setting.length) * self._cost

    def measure(self, advance: Advance) -> Iterator[Record]:
        """Measure recall and accuracy after each step, and finally with all memories sharpened."""
        at, (order, larger, more) = self.setting, VARIANTS[self.variant]
        model = self._model()
        zero(model)
        tests = at.source.held_out(self.tokens, at.length, at.seed)
        for matrix in order:
            ticks = (2 + TOP_DOWN.index(matrix)) * self._cost
            sequences = at.source.sequences(more * self.sequences, at.length, at.seed, lambda t=ticks: advance(t))
            sharpness = larger * SMALL[matrix]
            step(model, matrix, sequences, sharpness)
            probes = accuracies(model, tests, lambda: advance(0)) | recalls(model, tests)
            for probe in (ACCURACY, CHANGED, REPEATS, *RECALLS.values()):
                yield self._record(sharpness, matrix, probe, probes[probe])
            if matrix != "W_O^2":
                yield self._record(sharpness, matrix, ITSELF, own_token_margin(model, matrix) / sharpness)
        for stage in (SHARPENED, ALONE):
            if stage == ALONE:
                keep_associations(model)
            sharpen(model, self.sharpness)
            probes = accuracies(model, tests, lambda: advance(0))
            for probe in (ACCURACY, CHANGED):
                yield self._record(self.sharpness, stage, probe, probes[probe])

    @property
    def _cost(self) -> int:
        return cost(self.setting.dim or 384)  # roughly the width of the limit model

    def _model(self) -> SimplifiedTransformer:
        at, vocabulary = self.setting, self.setting.source.task.chain.vocabulary
        if at.dim == Setting.LIMIT:
            return limit_model(vocabulary, at.length)
        return SimplifiedTransformer(SimplifiedConfig(vocabulary, at.dim, at.length, seed=at.seed))

    def _record(self, sharpness: float, stage: str, probe: str, value: float) -> Record:
        return self.setting.record(STEPS, self.variant, sharpness, stage, probe, value)


@torch.no_grad()
def own_token_margin(model: SimplifiedTransformer, matrix: Learned) -> float:
    """The margin by which a token's query scores its own key; a by-product of gradient steps that no head needs."""
    embed, key = model.tok_embed.weight, learned(model, matrix)
    return margin(embed @ key @ embed.T / math.sqrt(model.config.dim))


@torch.no_grad()
def sharpen(model: SimplifiedTransformer, sharpness: float) -> None:
    """Scale every memory to this margin of right answers, as constructed ones have."""
    for matrix in TOP_DOWN:
        own = abs(margin(memory_scores(model, matrix)))
        if own:
            learned(model, matrix).mul_(sharpness / own)


@torch.no_grad()
def keep_associations(model: SimplifiedTransformer) -> None:
    """Rebuild every memory from its scores on valid queries, dropping everything else."""
    embed, scale = model.tok_embed.weight, math.sqrt(model.config.dim)
    values = model.last.attn.v(embed)
    again = model.first.attn.o(model.first.attn.v(embed))
    sides = {"W_O^2": (model.head.weight, values), "W_K^2": (embed, again)}
    if model.pos is not None:
        sides["W_K^1"] = (model.pos.weight[1:], model.pos.weight[:-1])
    for matrix in TOP_DOWN:
        scores = memory_scores(model, matrix)
        left, right = sides[matrix]
        between = scores.T if matrix == "W_O^2" else scale * scores
        learned(model, matrix).copy_(outer_products(left, between @ right) / (mean_square(left) * mean_square(right)))


@torch.no_grad()
def limit_model(vocabulary: int, length: int) -> SimplifiedTransformer:
    """A model without cross-talk.

    Embeddings, positions, their copies written by layer 1, and unembeddings are all mutually orthogonal. Norms are the
    random model's averages: |w_E|² = |p|² = d, |w_U|² = 1/3, and each random matrix shrinks by √3. As in the theory,
    and unlike in random models, the residual stream has no direct effect on the logits.
    """
    span = vocabulary + length
    model = SimplifiedTransformer(SimplifiedConfig(vocabulary, 2 * span + vocabulary, length))
    dim = model.config.dim
    basis = torch.eye(dim)
    model.tok_embed.weight.copy_(math.sqrt(dim) * basis[:vocabulary])
    if model.pos is not None:
        model.pos.weight.copy_(math.sqrt(dim) * basis[vocabulary:span])
    model.head.weight.copy_(basis[2 * span :] / math.sqrt(3))
    # W_V² need not rotate: only W_O² reads its output
    model.last.attn.v.weight.copy_(basis / math.sqrt(3))
    model.first.attn.o.weight.copy_(basis / math.sqrt(3))
    model.first.attn.v.weight.copy_(basis.roll(span, 0) / math.sqrt(3))
    return model
