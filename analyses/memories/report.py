"""The report of `memories`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechpaint.analyses.claims import claims_table
from mechpaint.analyses.memories.claims import WORKS, accuracies, claims, lowest_working
from mechpaint.analyses.memories.constructing import CONSTRUCTED, MENDED
from mechpaint.analyses.memories.figures import ANSWER, figures
from mechpaint.analyses.memories.findings import HEADS, NAMES, STAGES, Findings, extent, width
from mechpaint.analyses.memories.measuring import CHANGED, RECALLS, SAYS_TRIGGER, WRONG_OPENING, WRONG_OTHER
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import SOURCES, VOCABULARY, Source
from mechpaint.analyses.memories.stepping import ALONE, ITSELF, SHARPENED
from mechpaint.analyses.seeds import Values, spread
from mechpaint.report import Report, Table
from mechpaint.toy.gradients import TOP_DOWN

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analyses.memories import Memories


def report(analysis: Memories, table: pd.DataFrame) -> Report:
    """Draw the report: claims, then tables and figures."""
    findings = Findings(table)
    tested = claims(findings)
    return Report(
        title="Memories: constructed, and found by gradient steps",
        question="Can an induction head be written down without training, and do gradient steps find it?",
        summary=[
            _found(findings),
            _written_down(findings),
            _left(findings),
            _first(findings),
            _three(findings),
        ],
        answer=ANSWER,
        sections=[
            claims_table(
                tested,
                f"Claims of “Birth of a Transformer” (arXiv 2306.00802). Means over {findings.seeds} seeds ± standard "
                "deviations, on held-out sequences. Recall is the share of queries whose right answer scores highest "
                f"(chance: 1 in {VOCABULARY}). “Infinitely many dimensions” are computed in a model with exactly "
                "orthogonal vectors.",
            ),
            _construction_table(findings, analysis),
            _errors_table(findings),
            *figures(findings),
            _first_table(findings, analysis),
            _steps_table(findings, analysis),
        ],
        warnings=[] if findings.seeds > 1 else ["Only one seed: differences between models are unknown."],
    )


def _found(findings: Findings) -> str:
    """What was found, in a sentence."""
    at = " and ".join(f"{extent(np.array(accuracies(findings, dim)))} at d = {dim}" for dim in findings.ends)
    alone = np.array([findings.steps(source, Setting.LIMIT, ALONE, CHANGED).mean() for source in SOURCES])
    return (
        f"Written down, the head has an in-context accuracy of {at}; three gradient steps store its memories, and with "
        f"only the wanted associations kept reach {extent(alone, 2)} in infinitely many dimensions."
    )


def _written_down(findings: Findings) -> str:
    first, working = findings.dims[0], lowest_working(findings)
    recalls = np.array(
        [findings.over_lengths(s, first, CONSTRUCTED, r).mean() for s in HEADS for r in RECALLS.values()]
    )
    reached = f"from d = {working} on it is at least {WORKS} at" if working else f"at no width does it reach {WORKS} at"
    return (
        "An induction head was constructed without training, as three sums of outer products of random vectors, and "
        f"tested on real bigrams with sequences of {_either(findings.lengths)} tokens. Its accuracy counts second and "
        f"later occurrences of triggers; {reached} every length, with fixed and with random triggers. Recall of its "
        f"memories is less telling: at d = {first} it is already {extent(recalls, 2)}."
    )


def _left(findings: Findings) -> str:
    last = findings.dims[-1]
    opening, other, says = (
        _total(findings, last, CONSTRUCTED, probe) for probe in (WRONG_OPENING, WRONG_OTHER, SAYS_TRIGGER)
    )
    wrong = opening + other
    left = _total(findings, last, MENDED, WRONG_OPENING) + _total(findings, last, MENDED, WRONG_OTHER)
    mostly = "the first position" if opening > other else "cross-talk rather than the first position"
    return (
        f"The remaining errors at d = {last} come mostly from {mostly}: {_share(opening, wrong)} of them are at "
        "triggers that open their sequence. That token has no predecessor and attends to itself, so layer 1 writes "
        "that it follows itself, and the second layer takes it for its own output: "
        f"{_share(says, opening)} of these wrong answers repeat the trigger. One more outer product, which "
        f"keeps stored tokens from attending to position 0, reduces errors from {wrong:.2%} to {left:.2%} of all "
        "answers. The rest is cross-talk between vectors that are not quite orthogonal."
    )


def _total(findings: Findings, dim: int, stage: str, probe: str) -> float:
    return float(np.mean([findings.over_lengths(source, dim, stage, probe) for source in HEADS]))


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def _first(findings: Findings) -> str:
    limit = np.array([findings.first_step(source, Setting.LIMIT).mean() for source in SOURCES])
    last = findings.dims[-1]
    listed = ", ".join(f"{findings.first_step(source, last).mean():.2f} on {source.described}" for source in SOURCES)
    return (
        f"The first gradient step on W_O² recalls {extent(limit, 2)} of all outputs in infinitely many dimensions. At "
        f"d = {last} it recalls {listed}; the difference is lost to cross-talk."
    )


def _three(findings: Findings) -> str:
    limit, finite = Setting.LIMIT, findings.step_dims[-2]

    def listed(dim: int) -> str:
        recalls = {s: [f"{findings.own_recall(s, dim, m).mean():.2f}" for m in TOP_DOWN] for s in SOURCES}
        return "; ".join(f"{', '.join(values)} on {source.described}" for source, values in recalls.items())

    def over(stage: str, probe: str, digits: int = 2) -> str:
        return extent(np.array([findings.steps(source, limit, stage, probe).mean() for source in SOURCES]), digits)

    return (
        "Three small gradient steps, top-down, store W_O², W_K² and W_K¹ with these recalls in infinitely many "
        f"dimensions: {listed(limit)}. At d = {finite}: {listed(finite)}. Recall is not everything: W_K² also makes a "
        f"token attend to itself, {over('W_K^2', ITSELF, 0)} times as strongly in infinitely many dimensions. There, "
        f"the resulting head has an accuracy of {over(SHARPENED, CHANGED)} where output and trigger differ, even "
        f"with all memories as sharp as constructed ones, and of {over(ALONE, CHANGED)} with only the wanted "
        "associations kept."
    )


def _construction_table(findings: Findings, analysis: Memories) -> Table:
    def cell(source: Source, dim: int, length: int) -> str:
        return " → ".join(spread(findings.head(source, dim, length, stage)) for stage in STAGES)

    rows = [
        (source.triggers, str(dim), *(cell(source, dim, length) for length in findings.lengths))
        for source in HEADS
        for dim in findings.dims
    ]
    return Table(
        "table-construction",
        "The constructed induction head, in numbers",
        f"In-context accuracy as in the paper → with the first position mended; β = {analysis.sharpness:g}, real "
        f"bigrams, {findings.seeds} random models each. With fixed triggers, W_K² stores only these.",
        ("triggers", "d", *(f"length {length}" for length in findings.lengths)),
        rows,
    )


def _errors_table(findings: Findings) -> Table:
    def cells(source: Source, dim: int) -> list[str]:
        before, after = (findings.error_rates(source, dim, stage) for stage in STAGES)
        return [spread(own) for own in (before[0], after[0], before[1], after[1])]

    rows = [(source.triggers, str(dim), *cells(source, dim)) for source in HEADS for dim in findings.dims]
    return Table(
        "table-errors",
        "Remaining errors, in numbers",
        "Error rates where the trigger opens its sequence, and elsewhere; averaged over lengths.",
        ("triggers", "d", "opening", "opening, mended", "elsewhere", "elsewhere, mended"),
        rows,
    )


def _first_table(findings: Findings, analysis: Memories) -> Table:
    dims = (*findings.dims, Setting.LIMIT)
    rows = [
        (source.data, source.triggers, *(spread(findings.first_step(source, dim)) for dim in dims))
        for source in SOURCES
    ]
    return Table(
        "table-first-step",
        "One gradient step on W_O², in numbers",
        f"Recall from the idealised start, counted over {analysis.first_sequences:,} sequences of "
        f"{findings.step_length} tokens.",
        ("bigrams", "triggers", *(width(dim) for dim in dims)),
        rows,
    )


def _steps_table(findings: Findings, analysis: Memories) -> Table:
    def row(variant: str, source: Source, dim: int) -> tuple[str, ...]:
        def after(stage: str, probe: str) -> Values:
            return findings.steps(source, dim, stage, probe, variant)

        return (
            variant,
            source.described,
            width(dim),
            *(spread(findings.own_recall(source, dim, matrix, variant), 2) for matrix in TOP_DOWN),
            *(spread(after(stage, CHANGED), 2) for stage in (*TOP_DOWN, SHARPENED, ALONE)),
            spread(after("W_K^2", ITSELF), 1),
        )

    return Table(
        "table-steps",
        "Three gradient steps, in numbers",
        f"Steps over {analysis.step_sequences:,} sequences of {findings.step_length} tokens: recall of each memory "
        "after its own step; in-context accuracy after each step, where the output differs from the trigger; then with "
        f"all memories sharpened (β = {analysis.sharpness:g}), and with the wanted associations alone. Last, how "
        "strongly W_K² makes a token attend to itself, relative to its right answers; below 0, away from itself. Steps "
        "in the other order, larger steps and more sequences are for comparison.",
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
        [row(*each) for each in findings.variants()],
    )


def _either(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + (" or " if numbers[1:] else "") + str(numbers[-1])
