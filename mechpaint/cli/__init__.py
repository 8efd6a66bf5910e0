"""The command line: `mechpaint analyze …`, `mechpaint export …`, `mechpaint list`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from mechpaint.cli.process import run_process

    run_process(_run)


def _run() -> None:
    from mechpaint.cli.app import run_app

    run_app()
