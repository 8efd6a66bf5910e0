"""The report of `memories`: what was found, claim by claim, then tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechpaint.analyses.claims import claims_table, tally, tally_highlights
from mechpaint.analyses.memories.claims import WORKS, accuracies, claims, lowest_working
from mechpaint.analyses.memories.constructing import CONSTRUCTED, MENDED
from mechpaint.analyses.memories.figures import figures
from mechpaint.analyses.memories.findings import HEADS, NAMES, STAGES, Found, Values, extent, spread, width
from mechpaint.analyses.memories.measuring import CHANGED, RECALLS, SAYS_TRIGGER, WRONG_OPENING, WRONG_OTHER
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import SOURCES, VOCABULARY, Source
from mechpaint.analyses.memories.stepping import ALONE, ITSELF, SHARPENED
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
            _first(found),
            _three(found),
            tally(tested, "“Birth of a Transformer” (arXiv 2306.00802)", "these settings"),
        ],
        sections=[
            claims_table(
                tested,
                f"Means over {found.seeds} seeds ± standard deviations, on held-out sequences; a recall is how often "
                f"the right answer scores highest (chance: 1 in {VOCABULARY}). “Infinitely many dimensions” are "
                "computed in a model whose vectors are exactly orthogonal.",
            ),
            _construction_table(found, analysis),
            _errors_table(found),
            *figures(found),
            _first_table(found, analysis),
            _steps_table(found, analysis),
        ],
        warnings=[] if found.seeds > 1 else ["Only one seed: nothing tells how much models differ."],
        highlights=tally_highlights(tested),
    )


def _written_down(found: Found) -> str:
    at = " and ".join(f"{extent(np.array(accuracies(found, dim)))} at d = {dim}" for dim in found.ends)
    first, working = found.dims[0], lowest_working(found)
    recalls = np.array([found.over_lengths(s, first, CONSTRUCTED, r).mean() for s in HEADS for r in RECALLS.values()])
    reached = f"from d = {working} on it is {WORKS} or more at" if working else f"at no width is it {WORKS} at"
    return (
        "An induction head was written down, without any training, as three sums of outer products over random "
        f"vectors, and tested on real bigrams with sequences of {_either(found.lengths)} tokens. Its accuracy at "
        f"second and later occurrences of triggers is {at} (means over seeds); {reached} every length, with fixed "
        f"triggers and with random ones. The recall of its memories says less: at d = {first} it is "
        f"{extent(recalls, 2)} already."
    )


def _left(found: Found) -> str:
    last = found.dims[-1]
    opening, other, says = (
        _total(found, last, CONSTRUCTED, probe) for probe in (WRONG_OPENING, WRONG_OTHER, SAYS_TRIGGER)
    )
    wrong = opening + other
    left = _total(found, last, MENDED, WRONG_OPENING) + _total(found, last, MENDED, WRONG_OTHER)
    mostly = "the first position" if opening > other else "cross-talk, more than the first position"
    return (
        f"What remains wrong at d = {last} is {mostly}: {_share(opening, wrong)} of all wrong answers are at triggers "
        "that are also the first token of their sequence. That token has nothing before it and attends to itself, so "
        "layer 1 writes there that it follows itself, and the second layer takes it for its own output: "
        f"{_share(says, opening)} of these answers are the trigger. One more outer product, which keeps every stored "
        f"token from looking at position 0, is the remedy: wrong answers go from {wrong:.2%} to {left:.2%} of all. "
        "The rest is cross-talk between vectors that are not quite orthogonal."
    )


def _total(found: Found, dim: int, stage: str, probe: str) -> float:
    return float(np.mean([found.over_lengths(source, dim, stage, probe) for source in HEADS]))


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def _first(found: Found) -> str:
    limit = np.array([found.first_step(source, Setting.LIMIT).mean() for source in SOURCES])
    last = found.dims[-1]
    told = ", ".join(f"{found.first_step(source, last).mean():.2f} on {source.described}" for source in SOURCES)
    return (
        f"The first gradient step on W_O² recalls {extent(limit, 2)} of all outputs in infinitely many dimensions. At "
        f"d = {last} it recalls {told}: the difference is lost in cross-talk."
    )


def _three(found: Found) -> str:
    limit, finite = Setting.LIMIT, found.step_dims[-2]

    def told(dim: int) -> str:
        recalls = {s: [f"{found.own_recall(s, dim, m).mean():.2f}" for m in TOP_DOWN] for s in SOURCES}
        return "; ".join(f"{', '.join(values)} on {source.described}" for source, values in recalls.items())

    def over(stage: str, probe: str, digits: int = 2) -> str:
        return extent(np.array([found.steps(source, limit, stage, probe).mean() for source in SOURCES]), digits)

    return (
        "Three small gradient steps, from top to bottom, store W_O², W_K² and W_K¹ with these recalls in infinitely "
        f"many dimensions: {told(limit)}. At d = {finite}: {told(finite)}. Recalls are not all that counts: W_K² also "
        f"stores that a token looks for itself, and {over('W_K^2', ITSELF, 0)} times as strongly in infinitely many "
        "dimensions. The head that three steps leave there is right at "
        f"{over(SHARPENED, CHANGED)} of the places where the output is another token, even if all memories are made as "
        f"sharp as constructed ones, and at {over(ALONE, CHANGED)} once everything but the wanted associations is "
        "taken out of them."
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
        "The induction head written down, in numbers",
        f"In-context accuracy as in the paper → with the first position mended; β = {analysis.sharpness:g}, real "
        f"bigrams, {found.seeds} random models each. Fixed triggers are the only tokens that W_K² stores.",
        ("triggers", "d", *(f"length {length}" for length in found.lengths)),
        rows,
    )


def _errors_table(found: Found) -> Table:
    def cells(source: Source, dim: int) -> list[str]:
        before, after = (found.error_rates(source, dim, stage) for stage in STAGES)
        return [spread(own) for own in (before[0], after[0], before[1], after[1])]

    rows = [(source.triggers, str(dim), *cells(source, dim)) for source in HEADS for dim in found.dims]
    return Table(
        "table-errors",
        "What remains wrong, in numbers",
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
        "One gradient step on W_O², in numbers",
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
        "Three gradient steps, in numbers",
        f"Over {analysis.step_sequences:,} sequences of {found.step_length} tokens: what each memory recalls after its "
        "own step; in-context accuracy after each, where the output is not the trigger itself; then with all memories "
        f"made sharp (β = {analysis.sharpness:g}), and with the wanted associations alone. Last, how many times as "
        "strongly as its right answers W_K² stores that a token looks for itself; below 0, that it looks elsewhere. "
        "Steps in the other order, larger ones and more sequences are for comparison.",
        (
            "steps",
            "data",
            "d",
            *(f"{name} recall" for name in NAMES.values()),
            *(f"accuracy after {name}" for name in NAMES.values()),
            "all sharp",
            "wanted alone",
            "itself",
        ),
        [row(*each) for each in found.variants()],
    )


def _either(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + (" or " if numbers[1:] else "") + str(numbers[-1])
