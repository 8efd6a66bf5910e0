"""`run.json`: the one file that describes a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from mechpaint.errors import RunError
from mechpaint.files import write_text

RUN = "run.json"
FORMAT = 1
_EARLIER = "config.yaml"
"""A file of runs before `run.json`, which had six."""


@dataclass(frozen=True)
class Manifest:
    """The description of a run, apart from its cells.

    Attributes:
        analysis: The analysis's name.
        model: The model's name; None if it has none.
        command: The command, or the call in Python, that runs it again.
        request: What was asked, for `Run.resume`; None where it cannot be written down, as for a model in memory.
        config: Everything that the results depend on, but for versions.
        environment: Versions, platform, threads and accelerator.
        routes: The notation of every hook set's route, by label.
        cells: The names of all cells, in order, each with its *basis*: a digest of all that its records depend on.
        items: For the basis of cells of scored items, from the items' names to digests of their content.
        report: What the report is drawn from, serialized.
    """

    analysis: str
    model: str | None
    command: str
    request: Mapping[str, Any] | None
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    routes: Mapping[str, str]
    cells: Mapping[str, str]
    items: Mapping[str, Mapping[str, str]]
    report: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write `run.json` into `folder`, whole or not at all."""
        write_text(folder / RUN, json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `run.json`, or say why it cannot be read and what to do.

        Raises:
            RunError: It is no run folder, one of another version, or its `run.json` is damaged.
        """
        try:
            data: Any = json.loads((folder / RUN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(_no_run(folder)) from None
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {folder / RUN}: {error}. The run's command writes it again") from error
        if not isinstance(data, dict) or cast("dict[str, Any]", data).get("format") != FORMAT:
            raise RunError(f"{folder} is a run of another mechpaint: expected {RUN} of format {FORMAT}. Run it again")
        try:
            return cls(**{name: value for name, value in cast("dict[str, Any]", data).items() if name != "format"})
        except TypeError as error:
            raise RunError(f"cannot read {folder / RUN}: {error}. The run's command writes it again") from error


def is_earlier(folder: Path) -> bool:
    """True if a folder is a run of a version before `run.json`."""
    return (folder / _EARLIER).is_file() and not (folder / RUN).exists()


def _no_run(folder: Path) -> str:
    """Why there is no `run.json`, and what to do."""
    if not is_earlier(folder):
        return f"{folder} is no run folder: it has no {RUN}"
    try:
        command = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, TypeError, KeyError):
        command = "its command"
    return (
        f"{folder} is a run of an earlier mechpaint, which this one does not read. Compute it again, or draw it with "
        f"mechpaint 0.1: {command}"
    )
