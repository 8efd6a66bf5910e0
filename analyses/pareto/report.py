"""The report of `pareto`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mechpaint.analyses.claims import SIGNS, Claim
from mechpaint.analyses.painters.tables import perplexity
from mechpaint.analyses.pareto.claims import claims
from mechpaint.analyses.pareto.figures import ANSWER, front_figure, progress_figure, routes_figure
from mechpaint.analyses.pareto.findings import Findings
from mechpaint.engine.latency import LATENCY_PASSES, LATENCY_TOKENS
from mechpaint.report import Report, Table
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import estimate
from mechpaint.statistics.results import SearchResults

if TYPE_CHECKING:
    from mechpaint.analyses.pareto import Pareto

_FEW = 50
_INTERVALS = "In brackets: 95 % bootstrap intervals over held-out items."


def report(
    analysis: Pareto, results: SearchResults, held_out: SearchResults, milliseconds: Mapping[str, Sequence[float]]
) -> Report:
    """Draw the report."""
    findings = Findings(analysis, results, held_out, milliseconds)
    tested = claims(findings)
    return Report(
        title=f"Routes at {analysis.budget:.0%} of the cost: {results.model}",
        question=f"Which route keeps most of the model at {findings.limit} of its {findings.n_layers} layer calls?",
        summary=[_found(findings), *_measured(findings)],
        answer=ANSWER,
        sections=[
            _claims_table(tested),
            front_figure(findings),
            _front_table(findings),
            *routes_figure(findings),
            _by_task_table(findings),
            _skips_table(findings),
            progress_figure(findings),
            _rounds_table(findings),
        ],
        warnings=_warnings(findings),
    )


def _found(findings: Findings) -> str:
    """What was found, in a sentence."""
    skip = findings.best_skip(findings.limit)
    return (
        f"The best route found is {findings.chosen}: on held-out items it scores {findings.estimated(findings.chosen)} "
        f"(chance 0, full model 1), the best contiguous skip, {skip}, {findings.estimated(skip)}."
    )


def _measured(findings: Findings) -> list[str]:
    items = ", ".join(
        f"{seen.name} ({seen.items} and {aside.items})"
        for seen, aside in zip(findings.search.tasks, findings.held_out.tasks, strict=True)
    )
    return [
        f"{len(findings.archive.scores):,} routes over the {findings.n_layers} layers of {findings.search.model} were "
        f"scored in {len(findings.by_round())} rounds, each based on the scores before it: contiguous skips, then "
        f"{', then '.join(findings.analysis.strategies)}. Tasks, with the numbers of search items and of held-out "
        f"items: {items}.",
        "The score is the mean log-probability per token of right answers, normalised so that a uniform guess over the "
        "vocabulary is 0 and the full model 1, averaged over tasks. Accuracies on so few items would not change with "
        "most edits. A task without log-probabilities contributes its own score.",
    ]


def _warnings(findings: Findings) -> list[str]:
    notes: list[str] = []
    left_out = [task.name for task in findings.graded.unusable]
    if left_out:
        notes.append(
            f"The full model is not clearly better than chance on the held-out items of {', '.join(left_out)}: their "
            "scores have no scale, and means exclude them."
        )
    broken = findings.graded.not_finite()
    if broken:
        notes.append(f"{broken:,} held-out items scored NaN: means that include them are shown as nan.")
    fewest = min(task.items for task in findings.held_out.tasks)
    if fewest < _FEW:
        notes.append(f"Only {fewest} items per task were held out: read the intervals before the values.")
    return notes


def _claims_table(tested: Sequence[Claim]) -> Table:
    rows = [(claim.text, claim.verdict, claim.evidence) for claim in tested]
    caption = (
        f"{_INTERVALS} Differences are paired: both routes share the resamples of items. A claim held if the interval "
        "of the difference lies above 0. The tasks' own scores, mostly accuracies, are normalised too."
    )
    return Table("claims", "The claims, tested", caption, ("claim", "verdict", "evidence"), rows, SIGNS)


def _front_table(findings: Findings) -> Table:
    full = Route.identity(findings.n_layers)
    routes = [*findings.front, *([] if full in findings.front else [full])]
    whole = findings.latency(full)
    rows = [
        (
            str(route),
            str(route.layer_calls),
            f"{route.layer_calls / findings.n_layers:.0%}",
            str(len(route.steps)),
            f"{findings.latency(route):.1f}",
            f"{findings.latency(route) / whole:.2f}",
            f"{findings.archive.scores[route]:.3f}",
            findings.estimated(route),
            estimate(findings.own_score(route)),
            findings.found_in(route),
        )
        for route in routes
    ]
    caption = (
        "The routes that none beat at the same or a lower cost, on the search items; and the full model. Steps run one "
        f"after another. Latency is the median of {LATENCY_PASSES} passes of one text of {LATENCY_TOKENS} tokens "
        f"through the layers alone, on the machine of the run and under its load at the time. {_INTERVALS}"
    )
    columns = (
        *("route", "layer calls", "share", "steps", "latency, ms", "relative latency"),
        *("score, search", "score, held out", "own scores, held out", "found in"),
    )
    return Table("found", "The front", caption, columns, rows)


def _by_task_table(findings: Findings) -> Table:
    routes = {"found": findings.chosen, "best contiguous skip": findings.best_skip(findings.limit)}
    own = findings.own
    rows = [
        (
            task.name,
            task.measure,
            f"{task.chance:.3f}",
            own.score(task.name, "baseline"),
            *(own.score(task.name, str(route)) for route in routes.values()),
            *(perplexity(own, task.name, label) for label in ("baseline", *map(str, routes.values()))),
        )
        for task in findings.held_out.tasks
    ]
    listed = "; ".join(f"{name}: {route}" for name, route in routes.items())
    caption = (
        f"The tasks' own scores at {findings.limit} layer calls, and perplexities of right answers. {listed}. "
        f"{_INTERVALS}"
    )
    columns = (
        *("task", "score", "chance", "full model", *routes),
        *("perplexity, full model", *(f"perplexity, {name}" for name in routes)),
    )
    return Table("tasks", "Task by task", caption, columns, rows)


def _skips_table(findings: Findings) -> Table:
    skips = sorted(findings.skips(findings.limit), key=lambda skip: -findings.score(skip)[0])
    rows = [
        (
            str(skip),
            f"{findings.archive.scores[skip]:.3f}",
            findings.estimated(skip),
            estimate(findings.own_score(skip)),
            estimate(findings.score(findings.chosen) - findings.score(skip)),
        )
        for skip in skips
    ]
    caption = f"All contiguous skips with {findings.limit} layer calls, best on held-out items first. {_INTERVALS}"
    columns = ("route", "score, search", "score, held out", "own scores, held out", "route found minus this")
    return Table("skips", "The contiguous skips", caption, columns, rows)


def _rounds_table(findings: Findings) -> Table:
    rows = [(label, f"{scored:,}", f"{best:.3f}") for label, (scored, best) in findings.by_round().items()]
    caption = f"Routes scored after each round, and the best score at {findings.limit} layer calls."
    return Table("rounds", "Round by round", caption, ("round", "routes scored", "best within the budget"), rows)
