"""`mechpaint-lm-eval`: lm-eval's own command line, to which the model `mechpaint` is known."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from mechpaint.errors import InputError


def main() -> None:
    """Run lm-eval's command line."""
    from mechpaint.cli.process import run_process

    run_process(_run)


def _run() -> None:
    import typer

    from mechpaint.cli.errors import handle_errors

    try:
        with handle_errors("nothing was kept but what --use_cache keeps"):
            _evaluate()
    except typer.Exit as stopped:
        sys.exit(stopped.exit_code)


def _evaluate() -> None:
    if find_spec("lm_eval") is None:
        raise InputError("lm-eval is not installed: pip install 'mechpaint[eval]'")
    import lm_eval.models  # its own models are made known before ours
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.registry import model_registry

    assert lm_eval.models
    from mechpaint.plugins import built_in, discover
    from mechpaint.tasks.lm_eval.harness_model import MechpaintLM

    MechpaintLM.hook_sets = discover(built_in()).registry.hook_sets
    if "mechpaint" not in model_registry:
        model_registry.register("mechpaint", target="mechpaint.tasks.lm_eval.harness_model:MechpaintLM")
    cli_evaluate()
