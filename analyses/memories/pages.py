"""The report of `memories`: what was found, claim by claim, then tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechpaint.analyses.memories.claims import WORKS, accuracies, claims, lowest_working
from mechpaint.analyses.memories.constructing import CONSTRUCTED, MENDED
from mechpaint.analyses.memories.figures import error_rates, figures
from mechpaint.analyses.memories.found import HEADS, STAGES, Found, Values, extent, spread, width
from mechpaint.analyses.memories.measuring import CHANGED, WRONG_OPENING, WRONG_OTHER
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import SOURCES, Source
from mechpaint.analyses.memories.stepping import ALONE, ITSELF, SHARPENED
from mechpaint.claims import claims_table, tally
from mechpaint.report import Report, Table
from mechpaint.toy.gradients import TOP_DOWN

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analyses.memories import Memories


def report(analysis: Memories, table: pd.DataFrame) -> Report:
    """The whole report."""
    found = Found(table)
    tested = claims(found)
    return Report(
        title="Memories: written down, and found by gradient steps",
        summary=[
            _written_down(found),
            _left(found),
            _gradients(found),
            tally(tested, "“Birth of a Transformer” (arXiv 2306.00802)", "these settings"),
        ],
        sections=[
            claims_table(
                tested,
                f"Means over {found.seeds} seeds ± standard deviations, on held-out sequences; a recall is how often "
                "the right answer scores highest. “Infinitely many dimensions” is computed in a model whose vectors "
                "are exactly orthogonal.",
            ),
            _construction_table(found, analysis),
            _errors_table(found),
            *figures(found),
            _first_table(found, analysis),
            _steps_table(found, analysis),
        ],
        warnings=[] if found.seeds > 1 else ["Only one seed: nothing tells how much models differ."],
    )


def _written_down(found: Found) -> str:
    first, last = found.dims[0], found.dims[-1]
    at = f"{extent(np.array(accuracies(found, first)))} at d = {first}"
    if last != first:
        at += f" and {extent(np.array(accuracies(found, last)))} at d = {last}"
    working = lowest_working(found)
    reached = f"from d = {working} on it is {WORKS} or more at" if working else f"at no width is it {WORKS} at"
    return (
        "An induction head was written down, without any training, as three sums of outer products over random "
        f"vectors, and tested on real bigrams with sequences of {_either(found.lengths)} tokens. It is right at "
        f"{at} of the second and later occurrences of triggers (means over seeds); {reached} every length, with fixed "
        "triggers and with random ones."
    )


def _left(found: Found) -> str:
    last = found.dims[-1]
    opening, other = (_total(found, last, CONSTRUCTED, probe) for probe in (WRONG_OPENING, WRONG_OTHER))
    left = _total(found, last, MENDED, WRONG_OPENING) + _total(found, last, MENDED, WRONG_OTHER)
    wrong = opening + other
    share = opening / wrong if wrong else 0.0
    mostly = "What remains wrong is mostly the first position" if share > 0.5 else "What remains wrong is cross-talk"
    return (
        f"{mostly}: at d = {last}, {share:.0%} of all wrong answers are at triggers that are also the first token of "
        "their sequence. That token has nothing before it and attends to itself, so layer 1 writes there that it "
        "follows itself, and the second layer takes it for its own output. One more outer product, which keeps every "
        f"stored token from looking at position 0, mends it: wrong answers go from {wrong:.4f} to {left:.4f} of all. "
        "Everything else is cross-talk between vectors that are not quite orthogonal."
    )


def _total(found: Found, dim: int, stage: str, probe: str) -> float:
    return float(np.mean([found.over_lengths(source, dim, stage, probe) for source in HEADS]))


def _gradients(found: Found) -> str:
    limit = Setting.LIMIT
    last, finite = found.dims[-1], found.step_dims[-2]
    first = np.array([found.first_step(s, limit).mean() for s in SOURCES])
    through = ", ".join(f"{found.first_step(s, last).mean():.2f} on {s.described}" for s in SOURCES)
    three = "; ".join(
        f"{', '.join(f'{found.own_recall(s, limit, m).mean():.2f}' for m in TOP_DOWN)} on {s.described}"
        for s in SOURCES
    )
    below = ", ".join(f"{found.own_recall(s, finite, 'W_K^1').mean():.2f}" for s in SOURCES)
    itself = np.array([found.steps(s, limit, "W_K^2", ITSELF).mean() for s in SOURCES])
    sharp, alone = (np.array([found.steps(s, limit, stage, CHANGED).mean() for s in SOURCES])
                    for stage in (SHARPENED, ALONE))  # fmt: skip
    return (
        f"In infinitely many dimensions the first gradient step on W_O² recalls {extent(first, 2)} of all outputs, on "
        f"every kind of data; in {last} it recalls {through}. Three small steps from top to bottom store W_O², W_K² "
        f"and W_K¹ with recalls of {three}, in infinitely many dimensions; in {finite}, W_K¹ is lost ({below}). Even "
        f"in the limit they are no head yet, right at {extent(sharp, 2)} where the output is not the trigger itself: "
        f"W_K² also stores, {extent(itself, 0)} times as strongly, that a token looks for itself. With everything but "
        f"the wanted associations taken out, it is {extent(alone, 2)}."
    )


def _construction_table(found: Found, analysis: Memories) -> Table:
    def cell(source: Source, dim: int, length: int) -> str:
        return " → ".join(spread(found.head(source, dim, length, stage)) for stage in STAGES)

    rows = [
        (source.triggers, str(dim), *(cell(source, dim, length) for length in found.lengths))
        for source in HEADS
        for dim in found.dims
    ]
    return Table(
        "table-construction",
        "The induction head written down",
        f"In-context accuracy as in the paper → with the first position mended; β = {analysis.sharpness:g}, real "
        f"bigrams, {found.seeds} random models each. Fixed triggers are the only tokens that W_K² stores.",
        ("triggers", "d", *(f"length {length}" for length in found.lengths)),
        rows,
    )


def _errors_table(found: Found) -> Table:
    def cells(source: Source, dim: int) -> list[str]:
        before, after = (error_rates(found, source, dim, stage) for stage in STAGES)
        return [spread(own) for own in (before[0], after[0], before[1], after[1])]

    rows = [(source.triggers, str(dim), *cells(source, dim)) for source in HEADS for dim in found.dims]
    return Table(
        "table-errors",
        "What remains wrong",
        "Shares of wrong answers where the trigger is also the first token of its sequence, and elsewhere; averaged "
        "over lengths.",
        ("triggers", "d", "opening", "opening, mended", "elsewhere", "elsewhere, mended"),
        rows,
    )


def _first_table(found: Found, analysis: Memories) -> Table:
    dims = (*found.dims, Setting.LIMIT)
    rows = [
        (source.data, source.triggers, *(spread(found.first_step(source, dim)) for dim in dims)) for source in SOURCES
    ]
    return Table(
        "table-first-step",
        "One gradient step on W_O²",
        f"Its recall from the idealised start, counted over {analysis.first_sequences:,} sequences of "
        f"{found.step_length} tokens.",
        ("bigrams", "triggers", *(width(dim) for dim in dims)),
        rows,
    )


def _steps_table(found: Found, analysis: Memories) -> Table:
    def row(variant: str, source: Source, dim: int) -> tuple[str, ...]:
        def after(stage: str, probe: str) -> Values:
            return found.steps(source, dim, stage, probe, variant)

        return (
            variant,
            source.described,
            width(dim),
            *(spread(found.own_recall(source, dim, matrix, variant), 2) for matrix in TOP_DOWN),
            *(spread(after(stage, CHANGED), 2) for stage in (*TOP_DOWN, SHARPENED, ALONE)),
            spread(after("W_K^2", ITSELF), 1),
        )

    return Table(
        "table-steps",
        "Three gradient steps",
        f"Over {analysis.step_sequences:,} sequences of {found.step_length} tokens: what each memory recalls after its "
        "own step; in-context accuracy after each where the output is not the trigger itself; then with all memories "
        "sharpened, and with the wanted associations alone. Last, how many times as strongly as its right answers "
        "W_K² stores that a token looks for itself.",
        (
            "steps",
            "data",
            "d",
            *(f"{matrix} recall" for matrix in TOP_DOWN),
            *(f"accuracy after {matrix}" for matrix in TOP_DOWN),
            "sharpened",
            "associations alone",
            "itself",
        ),
        [row(*each) for each in found.variants()],
    )


def _either(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + (" or " if numbers[1:] else "") + str(numbers[-1])
