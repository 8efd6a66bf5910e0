"""The run folder: what an analysis leaves on disk, and takes up again.

    runs/<analysis>/<fingerprint>/
        config.yaml  env.json  routes.json      what was asked, with what, and the route of every hook set, if any
        plan.json                               the model's name, the command, and the names of all cells
        account.json                            what its report needs to know besides the records
        contents.json                           what each cell holds, by digests: what other runs may take over
        cells/*.parquet                         one a piece of work: items of a task, a round, a hook set, a trial
        results.parquet                         all of them, in the plan's order
        figures/*.{svg,png}  tables/*.csv  report.md  report.html

The fingerprint is of the configuration, the model's weights and the versions that matter. A cell has its name only
when it is complete, and holds the checksum of all its bytes (`mechpaint.runs.sealed`), so running the same thing again
computes what is missing or damaged and nothing else. Several processes may run the same thing at the same time: each
writes to names of its own, and renames what is complete into place.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from mechpaint.files import remove_leftovers, write_text
from mechpaint.runs.account import ACCOUNT, Account
from mechpaint.runs.cells import Cells
from mechpaint.runs.inventory import PLAN
from mechpaint.runs.others import CONTENTS, contents
from mechpaint.runs.plan import Cell, Plan
from mechpaint.runs.provenance import plugin_versions
from mechpaint.runs.versions import NO_PLUGINS, VERSIONS_THAT_MATTER, fingerprint, plain, versions


class RunFolder(Cells):
    """One run on disk. Nothing is written before `begin`.

    Args:
        out: The folder of all runs.
        analysis: The analysis's name.
        config: Everything that the results depend on, but for versions.
        schema: The pyarrow schema of its records.
        plugins: The versions of the plugins that it is of, by name.
    """

    def __init__(
        self, out: Path, analysis: str, config: dict[str, Any], schema: Any, plugins: Mapping[str, str] = NO_PLUGINS
    ) -> None:
        self.config = config
        self.versions = versions(plugins)
        super().__init__(out / analysis / fingerprint(config, plugins), schema)
        self._plugins = plugins

    @classmethod
    def of(cls, plan: Plan, out: Path) -> RunFolder:
        """The folder of a plan.

        Args:
            plan: What is run.
            out: The folder of all runs.
        """
        return cls(out, plan.analysis.name, plan.config(), plan.schema(), plugin_versions(plan.made_of()))

    def begin(self, account: Account, command: str, cells: Sequence[Cell]) -> None:
        """Make the folder, and write down what it is for. What a killed process left half written goes.

        Args:
            account: What its report needs besides the records.
            command: How to run it again.
            cells: All its cells, in order.

        Raises:
            NotJsonable: What a report needs is nothing that can be kept. Nothing was written.
        """
        model, told = account.model, account.text()
        plan: dict[str, Any] = {
            "model": None if model is None else model.name,
            "command": command,
            "cells": [cell.name for cell in cells],
        }
        remove_leftovers(self.path)
        write_text(self.path / "config.yaml", yaml.safe_dump(plain(self.config), sort_keys=False))
        write_text(self.path / "env.json", json.dumps(environment(self._plugins), indent=2) + "\n")
        write_text(self.path / PLAN, json.dumps(plan, indent=2) + "\n")
        write_text(self.path / ACCOUNT, told)
        write_text(self.path / CONTENTS, contents(cells))
        if model is not None:
            routes = {label: str(route) for label, route in model.routes.items()}
            write_text(self.path / "routes.json", json.dumps(routes, indent=2) + "\n")


def environment(plugins: Mapping[str, str] = NO_PLUGINS) -> dict[str, Any]:
    """What the run is computed with."""
    import torch

    return {
        "versions": {name: version(name) for name in (*VERSIONS_THAT_MATTER, "datasets", "numpy")},
        "plugins": dict(plugins),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
