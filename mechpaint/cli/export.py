"""`mechpaint export`: a route as a checkpoint.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechpaint.analysis import DEFAULT_MODEL
from mechpaint.cli.completion import hook_sets, models
from mechpaint.cli.errors import given_command, handle_errors
from mechpaint.display.terminal import status
from mechpaint.errors import InputError
from mechpaint.models.presets import check_name
from mechpaint.plugins import Registry
from mechpaint.routes.hookset_text import parse_hook_set
from mechpaint.routes.route import Route

if TYPE_CHECKING:
    from mechpaint.models.export import Exported
    from mechpaint.routes.hookset import HookSet


EXPORT_EXAMPLES = (
    "mechpaint export --route '0-9 20-29' --out shorter",
    "mechpaint export --model gemma-3-270m --hooks 'skip(4, 7)' --dtype bfloat16 --out shorter",
)


def export_command(registry: Registry) -> Callable[..., None]:
    """The command."""

    def export(
        out: Annotated[str, typer.Option(help="The folder to make; a new or an empty one.")],
        model: Annotated[
            str,
            typer.Option(help="A preset, a local Hugging Face folder, or a name on the hub.", autocompletion=models),
        ] = DEFAULT_MODEL,
        route: Annotated[str, typer.Option(help="The route, such as '0-3 13-4 14-17'.", show_default=False)] = "",
        hooks: Annotated[
            str,
            typer.Option(
                help="Or hook sets that make it, such as 'skip(4, 7)'.", show_default=False, autocompletion=hook_sets
            ),
        ] = "",
        device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, …; by default the fastest there is.")] = None,
        dtype: Annotated[
            str | None, typer.Option(help="What it is computed and written in: float32 (the default), bfloat16, …")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    ) -> None:
        """Write a Hugging Face checkpoint whose layers are a route."""
        with handle_errors("nothing was written"):
            if bool(route.strip()) == bool(hooks.strip()):
                raise InputError("expected a route or hook sets: one of --route '0-3 13-4 14-17', --hooks 'skip(4, 7)'")
            done = _export(model, route or parse_hook_set(hooks, registry.hook_sets), out, device, dtype)
        _print(done, as_json)

    return export


def _export(name: str, what: str | HookSet, out: str, device: str | None, dtype: str | None) -> Exported:
    check_name(name)
    with status(f"loading {name}"):
        from mechpaint.engine.route_runner import RouteRunner
        from mechpaint.models.export import export, free_folder
        from mechpaint.models.loading import load

    free_folder(out)  # before minutes are spent on the model
    model = load(name, device=device, dtype=dtype)
    route = Route.parse(what, RouteRunner(model).n_layers) if isinstance(what, str) else what
    return export(model, route, out, name=name, made_by=given_command())


def _print(done: Exported, as_json: bool) -> None:
    facts: dict[str, Any] = {
        "checkpoint": str(done.folder),
        "route": str(done.route),
        "layers": list(done.order),
        "difference": done.difference,
        "tokens": done.tokens,
    }
    if as_json:
        print(json.dumps(facts, indent=2))  # noqa: T201
        return
    print(  # noqa: T201
        f"{len(done.order)} layers along {done.route}; logits as the routed model's, {done.agreement}\n"
        f"checkpoint: {done.folder}"
    )
