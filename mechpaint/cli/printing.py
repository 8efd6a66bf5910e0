"""What commands print of a run that is done: on stdout, as a table or as JSON.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Console

from mechpaint.showing import Shown

if TYPE_CHECKING:
    from mechpaint.finished import Finished


def print_finished(finished: Finished, as_json: bool) -> None:
    """Print the first table and where the page is, or all tables as JSON.

    Args:
        finished: The run.
        as_json: Whether to print JSON.
    """
    from mechpaint.report import Table

    tables = [section for section in finished.report.sections if isinstance(section, Table)]
    if as_json:
        summary = {t.name: [dict(zip(t.columns, row, strict=True)) for row in t.rows] for t in tables}
        print(json.dumps({"run": str(finished.folder), "report": str(finished.page), **summary}, indent=2))  # noqa: T201
        return
    for table in tables[:1]:
        Console().print(Shown(table.title, (), table.columns, table.rows).rich())
    print(f"{finished.done}\nreport: {finished.page}")  # noqa: T201
