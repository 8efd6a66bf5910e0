"""Runs that score routes on tasks, compared item by item with the first of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mechpaint.display.figures import COLOURS, axes, literal
from mechpaint.report import Figure, Table
from mechpaint.runs.compare.differences import Difference, Scored, common_labels, common_tasks, differences, same_items
from mechpaint.runs.compare.inputs import Apart, ComparedRun, Made, apart_table
from mechpaint.runs.reuse import item_contents
from mechpaint.statistics.results import Results

_DRAWN = 30
_LONGEST = 48


def scored_report(sides: Sequence[ComparedRun]) -> Made:
    """Differences of each run to the first."""
    runs = [_scored(side) for side in sides]
    pairs = [(side, differences(runs[0], run)) for side, run in zip(sides[1:], runs[1:], strict=True)]
    every = sorted(
        ((side, difference) for side, listed in pairs for difference in listed), key=lambda pair: -pair[1].size
    )
    sections = [_figure(sides, every), _table(sides, every)] if every else []
    others = zip(sides[1:], runs[1:], strict=True)
    unlike = [each for side, run in others for each in _apart(sides[0], runs[0], side, run)]
    unpaired = [_unpaired(sides[0], side, listed) for side, listed in pairs]
    return Made(
        [_summary(sides[0], side, listed) for side, listed in pairs],
        sections,
        apart_table(list(dict.fromkeys(unlike))),
        [warning for warning in unpaired if warning],
    )


def _scored(side: ComparedRun) -> Scored:
    inputs = side.run.inputs
    contents = dict(zip((task.name for task in inputs.tasks), item_contents(side.run.manifest), strict=True))
    return Scored(inputs.results(side.table), contents)


def _summary(first: ComparedRun, side: ComparedRun, listed: Sequence[Difference]) -> str:
    if not listed:
        return f"{side.name} and {first.name} have no task and hook set in common."
    clear = [difference for difference in listed if difference.clear]
    higher = sum(difference.change.value > 0 for difference in clear)
    tasks, labels = {d.task for d in listed}, {d.label for d in listed}
    largest = listed[0]
    return (
        f"{side.name} against {first.name}, {_count(len(tasks), 'task')} under {_count(len(labels), 'hook set')}: of "
        f"{_count(len(listed), 'difference')} {len(clear)} {'is' if len(clear) == 1 else 'are'} clear (the 95 % "
        f"interval leaves 0 out): {higher} higher, {len(clear) - higher} lower. About one in twenty would be clear "
        f"by chance alone. The largest is that of {largest.task} under {largest.label}: {largest.change}."
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _unpaired(first: ComparedRun, side: ComparedRun, listed: Sequence[Difference]) -> str:
    tasks = dict.fromkeys(difference.task for difference in listed if not difference.paired)
    if not tasks:
        return ""
    return (
        f"{side.name} and {first.name} were not asked the same items of {', '.join(tasks)}: items of the same name "
        "have other contents, as with another tokenizer, or there are none. There differences are not paired, and "
        "their intervals wider."
    )


def _table(sides: Sequence[ComparedRun], every: Sequence[tuple[ComparedRun, Difference]]) -> Table:
    several = len(sides) > 2
    rows = [
        (
            *([side.name] if several else []),
            each.task,
            each.label,
            f"{each.first:.3f}",
            f"{each.other:.3f}",
            each.change,
            "yes" if each.clear else "no",
            f"{each.items[0]:,}" if each.paired else f"{each.items[0]:,} and {each.items[1]:,}, not paired",
        )
        for side, each in every
    ]
    other = "its score" if several else sides[1].name
    columns = (*(["run"] if several else []), "task", "hook set", sides[0].name, other, "difference", "clear", "items")
    caption = (
        f"Scores of the items in common, and their difference to {sides[0].name} with its 95 % bootstrap interval, the "
        "largest first. Clear are those whose interval leaves 0 out."
    )
    return Table("differences", "Differences", caption, columns, rows)


def _figure(sides: Sequence[ComparedRun], every: Sequence[tuple[ComparedRun, Difference]]) -> Figure:
    drawn = every[:_DRAWN]
    drawing, (ax,) = axes(height=1.1 + 0.22 * len(drawn))
    others = list(dict.fromkeys(side.name for side, _ in every))
    for place, (side, each) in enumerate(drawn):
        colour: Any = COLOURS[others.index(side.name) % len(COLOURS)]
        ax.plot([each.change.low, each.change.high], [place, place], color=colour, linewidth=1.4)
        filled = "full" if each.clear else "none"
        ax.plot([each.change.value], [place], "o", color=colour, markersize=5, fillstyle=filled)
    ax.axvline(0, color="#555555", linewidth=0.8)
    ax.set_yticks(range(len(drawn)), [_tick(side, each, len(others) > 1) for side, each in drawn])
    ax.tick_params(axis="y", labelsize=8)
    ax.set_ylim(len(drawn) - 0.5, -0.5)
    ax.set_xlabel(literal(f"difference of the score to {sides[0].name}"))
    which = "All differences" if len(drawn) == len(every) else f"The {len(drawn)} largest of {len(every):,} differences"
    caption = f"{which}, with 95 % bootstrap intervals. Filled dots are clear: their interval leaves 0 out."
    alt = "Dots with intervals, one a task and hook set, by the size of the difference to the first run."
    return Figure("largest-differences", "The largest differences", caption, alt, drawing)


def _tick(side: ComparedRun, each: Difference, several: bool) -> str:
    text = f"{each.task}, {each.label}" + (f", {side.name}" if several else "")
    return literal(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _apart(first: ComparedRun, one: Scored, side: ComparedRun, other: Scored) -> Iterator[Apart]:
    """Hook sets, tasks and items that only one of two runs has."""
    both = ((first, one, other), (side, other, one))
    shared = {task.name for task, _ in common_tasks(one.results, other.results)}
    labels = set(common_labels(one.results, other.results))
    for own, run, _ in both:
        yield Apart("hook sets", own.name, tuple(label for label in run.results.routes if label not in labels))
        yield Apart("tasks", own.name, tuple(task for task in _tasks(run.results) if task not in shared))
    for task in sorted(shared):
        paired = set(same_items(one.contents[task], other.contents[task]))
        for own, run, _ in both if paired else ():
            only = tuple(name for name in run.contents[task] if name not in paired)
            yield Apart(f"items of {task}", own.name, only)


def _tasks(results: Results) -> list[str]:
    return [task.name for task in results.tasks]
