"""The report of `pareto`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mechpaint.analyses.claims import SIGNS, Claim, tally_highlights
from mechpaint.analyses.pareto.claims import claims
from mechpaint.analyses.pareto.figures import front_figure, progress_figure, routes_figure
from mechpaint.analyses.pareto.findings import Findings
from mechpaint.engine.latency import LATENCY_PASSES, LATENCY_TOKENS
from mechpaint.report import Report, Table
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import Scores, estimate
from mechpaint.statistics.results import SearchResults

if TYPE_CHECKING:
    from mechpaint.analyses.pareto import Pareto

_FEW = 50
_INTERVALS = "In brackets: 95 % bootstrap intervals over the items held out."


def report(
    analysis: Pareto, found: SearchResults, held_out: SearchResults, milliseconds: Mapping[str, Sequence[float]]
) -> Report:
    """The whole report."""
    findings = Findings(analysis, found, held_out, milliseconds)
    tested = claims(findings)
    return Report(
        title=f"Routes at {analysis.budget:.0%} of the cost: {found.model}",
        summary=_summary(findings),
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
        highlights=[
            (f"best route found at {findings.limit} of {findings.n_layers} layer calls", str(findings.chosen)),
            ("its score on items held out", str(findings.estimated(findings.chosen))),
            *tally_highlights(tested),
        ],
    )


def _summary(found: Findings) -> list[str]:
    items = ", ".join(
        f"{seen.name} ({seen.items} and {aside.items})"
        for seen, aside in zip(found.found.tasks, found.held_out.tasks, strict=True)
    )
    return [
        f"{len(found.archive.scores):,} routes of the {found.n_layers} layers of {found.found.model} were scored in "
        f"{len(found.by_round())} rounds, each proposed from the scores of those before: contiguous skips, then "
        f"{', then '.join(found.analysis.strategies)}. Tasks, with how many items the search saw and how many were "
        f"held out: {items}.",
        "The score is how likely right answers are: the mean log-probability of a right answer's tokens, on a scale "
        "where guessing evenly over the vocabulary is 0 and the full model 1, averaged over tasks. Accuracies of so "
        "few items would not change with most edits. A task without log-probabilities counts with its own score.",
    ]


def _warnings(found: Findings) -> list[str]:
    said: list[str] = []
    left_out = [task.name for task in found.graded.unusable]
    if left_out:
        said.append(
            f"The full model is not clearly better than guessing on the held-out items of {', '.join(left_out)}: their "
            "scores have no scale, and no mean includes them."
        )
    broken = found.graded.not_finite()
    if broken:
        said.append(f"{broken:,} scored items held out gave no number: means that would include them are shown as nan.")
    fewest = min(task.items for task in found.held_out.tasks)
    if fewest < _FEW:
        said.append(f"Only {fewest} items of a task were held out: read the intervals before the values.")
    return said


def _claims_table(tested: Sequence[Claim]) -> Table:
    rows = [(claim.text, claim.verdict, claim.evidence) for claim in tested]
    caption = (
        f"{_INTERVALS} Differences are paired: the same resamples of items under both routes. A claim held if the "
        "interval of the difference lies above 0. The tasks' own scores are accuracies for most, with chance 0 and the "
        "full model 1."
    )
    return Table("claims", "What was to be shown, and what held", caption, ("claim", "here", "figures"), rows, SIGNS)


def _front_table(found: Findings) -> Table:
    full = Route.identity(found.n_layers)
    routes = [*found.front, *([] if full in found.front else [full])]
    whole = found.latency(full)
    rows = [
        (
            str(route),
            str(route.layer_calls),
            f"{route.layer_calls / found.n_layers:.0%}",
            str(len(route.steps)),
            f"{found.latency(route):.1f}",
            f"{found.latency(route) / whole:.2f}",
            f"{found.archive.scores[route]:.3f}",
            str(found.estimated(route)),
            str(estimate(found.own_score(route))),
            found.found_in(route),
        )
        for route in routes
    ]
    caption = (
        "The routes that no other was better than at the same or a lower cost, on the items of the search; and the "
        "full model. Steps are what cannot run in parallel. Latency is the median of "
        f"{LATENCY_PASSES} passes of one text of {LATENCY_TOKENS} tokens through the layers alone, measured on the "
        f"machine of the run: it tells of that machine, and of what else it did then. {_INTERVALS}"
    )
    columns = (
        *("route", "layer calls", "share", "steps", "latency, ms", "of the full model's"),
        *("score, search", "score, held out", "own scores, held out", "found in"),
    )
    return Table("found", "The front", caption, columns, rows)


def _by_task_table(found: Findings) -> Table:
    routes = {"found": found.chosen, "best contiguous skip": found.best_skip(found.limit)}
    own = found.own
    rows = [
        (
            task.name,
            task.measure,
            f"{task.chance:.3f}",
            str(own.score(task.name, "baseline")),
            *(str(own.score(task.name, str(route))) for route in routes.values()),
            *(_perplexity(own, task.name, label) for label in ("baseline", *map(str, routes.values()))),
        )
        for task in found.held_out.tasks
    ]
    listed = "; ".join(f"{name}: {route}" for name, route in routes.items())
    caption = (
        f"The tasks' own scores at {found.limit} layer calls, and perplexities of right answers. {listed}. {_INTERVALS}"
    )
    columns = (
        *("task", "score", "chance", "full model", *routes),
        *("perplexity, full model", *(f"perplexity, {name}" for name in routes)),
    )
    return Table("tasks", "Task by task", caption, columns, rows)


def _perplexity(scores: Scores, task: str, label: str) -> str:
    return f"{estimate(scores.perplexity(task, label)):.3g}" if scores.has_perplexity(task) else "–"


def _skips_table(found: Findings) -> Table:
    skips = sorted(found.skips(found.limit), key=lambda skip: -found.score(skip)[0])
    rows = [
        (
            str(skip),
            f"{found.archive.scores[skip]:.3f}",
            str(found.estimated(skip)),
            str(estimate(found.own_score(skip))),
            str(estimate(found.score(found.chosen) - found.score(skip))),
        )
        for skip in skips
    ]
    caption = f"All contiguous skips of {found.limit} layer calls, the best on items held out first. {_INTERVALS}"
    columns = ("route", "score, search", "score, held out", "own scores, held out", "found route less this")
    return Table("skips", "What it is compared with", caption, columns, rows)


def _rounds_table(found: Findings) -> Table:
    rows = [(label, f"{scored:,}", f"{best:.3f}") for label, (scored, best) in found.by_round().items()]
    caption = f"After each round, how many routes were scored, and the best score at {found.limit} layer calls."
    return Table("rounds", "Round by round", caption, ("round", "routes scored", "best within the budget"), rows)
