"""Run analyses, open their runs, compare them: what `mechpaint` does on the command line, as functions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mechpaint import plugins as plugin_registry
from mechpaint.analysis import Analysis
from mechpaint.display.sanitize import short
from mechpaint.errors import AnalysisError, InputError, RunError, there_is_no
from mechpaint.runs.kinds import kind_of
from mechpaint.runs.request import Request, executor_of, for_this_process
from mechpaint.runs.run import Run, find_run

if TYPE_CHECKING:
    from torch import nn
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.plugins import Registry
    from mechpaint.routes.hookset import HookSet
    from mechpaint.routes.route import Route
    from mechpaint.runs.compare import Comparison
    from mechpaint.tasks.task import Task


def analyze(
    analysis: str | Analysis,
    model: str | Path | TransformerBridge | nn.Module | None = None,
    *,
    tasks: str | Task[Any] | Sequence[str | Task[Any]] = (),
    limit: int | None = None,
    hooks: HookSet | Route | str = "",
    out: str | Path = "runs",
    plugins: Sequence[str | Path] = (),
    **options: Any,
) -> Run:
    """Run an analysis: compute what is missing, and draw the report. The same call again computes nothing.

    >>> run = mp.analyze("painters", tasks=["facts"], limit=8, start_layers=(4,))  # doctest: +SKIP
    >>> run.table, run.figures["figure-11"], run.path  # doctest: +SKIP

    Args:
        analysis: Its name, as `mechpaint list` shows it, or an instance.
        model: What `mechpaint.load` takes; by default the analysis's own. An `Experiment` has none.
        tasks: What to measure: names (`"facts"`, `"text:my.txt"`, `"lm_eval:arc_easy"`) or tasks; by default the
            analysis's own.
        limit: How many items of each task, by default 24; 0 for all.
        hooks: Hook sets to run everything under, after the analysis's own: a hook set, a route, or a text of either.
        out: The folder of all runs.
        plugins: Plugin files to load besides installed plugins.
        options: What else the command line takes (`seed`, `batch_size`, `held_out`, `device`, `device_map`, `dtype`,
            `task_path`, `task_data`, `num_fewshot`, `shard="2/8"`, `engine="ray"`, `workers`, `ray_address`), and the
            settings of an analysis that is given by name, such as `start_layers=(4,)`.

    Returns:
        The run; with a shard, and while other cells are missing, one without a report.

    Raises:
        InputError: No such analysis, option, model, task, hook set or plugin; or one that does not fit the others.
        CannotWrite: The disk is full or cannot be written.
        CellError: A cell was removed or damaged after it was computed or checked.
        WorkersLost: A cell has ended all workers that computed it.
    """
    given = _given(model, tasks, limit, hooks, out, options)
    registry = plugin_registry.registry(plugins)
    made, chosen = _parts(analysis, registry, given)
    return execute(made, registry, chosen, tuple(map(str, plugins)), _call(analysis, {**given, "plugins": plugins}))


def plan(
    analysis: str | Analysis,
    model: str | Path | TransformerBridge | nn.Module | None = None,
    *,
    tasks: str | Task[Any] | Sequence[str | Task[Any]] = (),
    limit: int | None = None,
    hooks: HookSet | Route | str = "",
    out: str | Path = "runs",
    plugins: Sequence[str | Path] = (),
    **options: Any,
) -> dict[str, Any]:
    """Say what `analyze` would do and cost with the same arguments. Nothing is written.

    Args:
        analysis: As for `analyze`.
        model: As for `analyze`.
        tasks: As for `analyze`.
        limit: As for `analyze`.
        hooks: As for `analyze`.
        out: As for `analyze`.
        plugins: As for `analyze`.
        options: As for `analyze`.

    Returns:
        Numbers and texts by name: cells, layer calls, operations, memory, time, and how much other runs hold already.

    Raises:
        InputError: As for `analyze`.
    """
    registry = plugin_registry.registry(plugins)
    made, chosen = _parts(analysis, registry, _given(model, tasks, limit, hooks, out, options))
    return forecast(made, registry, chosen)


def open_run(path: str | Path, *, out: str | Path = "runs", plugins: Sequence[str | Path] = ()) -> Run:
    """Open a run on disk.

    Args:
        path: The run folder, or the beginning of a fingerprint of one in `out`, such as `"ab12"` or `"painters/ab12"`.
        out: The folder of all runs.
        plugins: Plugin files to load besides installed plugins, if the analysis is one of theirs.

    Raises:
        RunError: There is no such run, or it is one of an earlier version.
    """
    registry = plugin_registry.registry(plugins)
    return _resumable(Run.open(find_run(str(path), Path(out)), registry))


def compare(
    runs: Sequence[Run | str | Path], *, out: str | Path = "runs", plugins: Sequence[str | Path] = ()
) -> Comparison:
    """Compare runs with the first of them: paired differences with intervals, and what they do not have in common.

    Args:
        runs: Two or more runs, their folders, or beginnings of their fingerprints.
        out: The folder of all runs; the page goes to `compare/` in it.
        plugins: Plugin files to load besides installed plugins.

    Raises:
        RunError: Fewer than two runs, one twice, a search, or runs with nothing in common.
        IncompleteRun: A run with cells that are missing or damaged.
        CannotWrite: The disk is full or cannot be written.
    """
    from mechpaint.runs.compare import compare_runs

    registry = plugin_registry.registry(plugins)
    opened = [run if isinstance(run, Run) else Run.open(find_run(str(run), Path(out)), registry) for run in runs]
    return compare_runs(opened, Path(out))


def execute(
    analysis: Analysis,
    registry: Registry,
    options: Mapping[str, Any],
    plugins: Sequence[str],
    command: str,
    warn: Callable[[str], None] | None = None,
) -> Run:
    """Run an analysis with all options of its kind: what `analyze` and the command line both do."""
    from mechpaint.runs.execute import run
    from mechpaint.runs.plans.plan import Shard

    shard = None if options["shard"] is None else Shard.parse(options["shard"])
    request = _request(analysis, registry, options, plugins)
    executor = executor_of(request, options)
    made = kind_of(type(analysis)).plan(analysis, registry, for_this_process(options))
    again = lambda: execute(analysis, registry, {**options, "shard": None}, plugins, command, warn)  # noqa: E731
    done = run(made, Path(options["out"]), command, warn, executor, shard, request=request, registry=registry)
    return done.replaced(again=again)


def forecast(analysis: Analysis, registry: Registry, options: Mapping[str, Any]) -> dict[str, Any]:
    """Forecast a run, and count the cells that are there."""
    from mechpaint.runs.execute import forecast as forecast_of
    from mechpaint.runs.plans.plan import Shard

    shard = None if options["shard"] is None else Shard.parse(options["shard"])
    made = kind_of(type(analysis)).plan(analysis, registry, options)
    return forecast_of(made, Path(options["out"]), shard)


def _given(model: Any, tasks: Any, limit: Any, hooks: Any, out: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords that were given, by the names of options; those left at their defaults are left out."""
    several = isinstance(tasks, Sequence) and not isinstance(tasks, str)
    listed: list[Any] = list(cast("Sequence[Any]", tasks)) if several else [tasks]
    named: dict[str, Any] = {"model": model, "limit": limit, "hooks": hooks, "out": _folder(out)}
    given = {name: value for name, value in named.items() if value is not None and value != ""}
    return given | ({"task": listed} if listed else {}) | dict(options)


def _folder(out: object) -> str:
    """The folder of all runs, as text."""
    if not isinstance(out, str | Path) or not str(out) or "\0" in str(out):
        raise RunError(f"expected the folder of all runs, such as out='runs', got {short(out)}")
    return str(out)


def _parts(analysis: str | Analysis, registry: Registry, given: Mapping[str, Any]) -> tuple[Analysis, dict[str, Any]]:
    """The analysis, and every option of its kind."""
    if isinstance(analysis, str):
        if analysis not in registry.analyses:
            raise AnalysisError(there_is_no("analysis", analysis, registry.analyses))
        kind = registry.analyses[analysis]
        own = {field.name for field in dataclasses.fields(kind)}
        settings = {name: value for name, value in given.items() if name in own}
        analysis = kind(**settings)
        given = {name: value for name, value in given.items() if name not in own}
    if not isinstance(analysis, Analysis):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise AnalysisError(
            f"expected an analysis, or the name of one of {', '.join(registry.analyses)}; got {short(analysis)}"
        )
    return analysis, all_options(type(analysis), given)


def all_options(analysis: type[Analysis], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of an analysis's kind: what was given, and the defaults."""
    options: dict[str, Any] = {}
    for group in kind_of(analysis).options:
        for option in dataclasses.fields(group):
            factory = option.default_factory
            options[option.name] = option.default if factory is dataclasses.MISSING else factory()
    unknown = [name for name in given if name not in options]
    if unknown:
        own = [field.name for field in dataclasses.fields(analysis)]
        raise InputError(
            f"the analysis {analysis.name!r} has no option {unknown[0]!r}; its options are {', '.join(options)}"
            + (f", and its settings {', '.join(own)}" if own else "")
        )
    options |= given
    if options.get("model", "") is None:
        options["model"] = getattr(analysis, "model")  # noqa: B009 - an `Experiment` has none
    return options


def _request(
    analysis: Analysis, registry: Registry, options: Mapping[str, Any], plugins: Sequence[str]
) -> Request | None:
    """The request as `run.json` holds it; None if objects in memory are part of it."""
    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    try:
        json.dumps(options)
    except TypeError:
        return None
    known = registry.analyses.get(analysis.name)
    return Request.of(analysis, options, plugins) if known is type(analysis) else None


def _resumable(run: Run) -> Run:
    """The run, such that `resume` runs its request again."""
    written = run.manifest.request
    if written is None:
        return run
    request = Request(written["analysis"], written["settings"], written["options"], tuple(written["plugins"]))
    command = run.manifest.command

    def again() -> Run:
        known = plugin_registry.registry(request.plugins)
        options = {**request.options, "out": str(run.path.resolve().parents[1]), "shard": None}
        made = dataclasses.replace(request, options=options)
        return execute(made.analysis_of(known), known, options, request.plugins, command)

    return run.replaced(again=again)


def _call(analysis: str | Analysis, given: Mapping[str, Any]) -> str:
    """The call in Python that runs it again; a model in memory is `model` there, since its repr is very long."""
    names = {"task": "tasks"}
    words = [repr(analysis)]
    for name, value in given.items():
        in_memory = name == "model" and not isinstance(value, str | Path)
        if in_memory or value:
            words.append(f"{names.get(name, name)}={'model' if in_memory else repr(value)}")
    return f"mechpaint.analyze({', '.join(words)})"
