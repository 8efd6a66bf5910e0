"""Execute the notebooks of this folder, and write each as a page with its results that opens without a network.

python examples/export.py build/notebooks             # all of them
python examples/export.py build/notebooks 3_watching_it_be_born
"""

from __future__ import annotations

import copy
import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from mechpaint.files import write_text

FOLDER = Path(__file__).resolve().parent

_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, where there are no widgets
}
"""The kernel's environment: no hub is asked, and what is only of interest while one waits is not kept in outputs."""


def notebooks() -> list[Path]:
    """Every notebook of this folder, in the order in which they are to be read."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(notebook: NotebookNode, folder: Path, timeout: int = 600) -> None:
    """Run every cell in place, with this Python and this checkout's mechpaint.

    Args:
        notebook: Its outputs are replaced.
        folder: The working directory, for what cells write.
        timeout: How many seconds a cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised.
    """
    # no folders to look for kernels in: what is left is the kernel of this very Python
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    path = os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")]))
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=timeout,
        startup_timeout=timeout,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, **_QUIET, "PYTHONPATH": path}, cleanup_kc=True)


def page(notebook: NotebookNode, out: Path) -> str:
    """An executed notebook as HTML that asks for nothing else.

    Args:
        notebook: It stays as it is.
        out: The folder that the page will be in; links to files of the repository are made to lead there.
    """
    shown = copy.deepcopy(notebook)
    here = Path(os.path.relpath(FOLDER, out.resolve())).as_posix()
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.html)", cell.source)
            cell.source = cell.source.replace("](../", f"]({here}/../")
    exporter = HTMLExporter(template_file=str(FOLDER / "page.html.j2"))
    return exporter.from_notebook_node(shown)[0]


def main(out: Path, names: list[str]) -> None:
    """Execute notebooks and write their pages.

    Args:
        out: The folder to write to.
        names: Which, without endings; all if there are none.
    """
    known = {path.stem: path for path in notebooks()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"there is no notebook {unknown[0]!r}; there are: {', '.join(known)}")
    for name in names or known:
        notebook = nbformat.read(known[name], as_version=4)
        with TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        write_text(out / f"{name}.html", page(notebook, out))
        print(out / f"{name}.html", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python examples/export.py FOLDER [NOTEBOOK …]")
    main(Path(sys.argv[1]), sys.argv[2:])
