"""Execute the notebooks of this folder, and write each as a page with its results that opens without a network.

python examples/export.py build/notebooks             # all of them
python examples/export.py build/notebooks 3_watching_it_be_born
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import NotebookNode

FOLDER = Path(__file__).parent


def notebooks() -> list[Path]:
    """Every notebook of this folder, in the order in which they are to be read."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(notebook: NotebookNode, folder: Path, timeout: int = 600) -> None:
    """Run every cell in place, with this Python and this checkout's mechpaint, and without a model hub.

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
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}
    environment = {**os.environ, **quiet, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=timeout,
        startup_timeout=timeout,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)


def page(notebook: NotebookNode) -> str:
    """An executed notebook as HTML that asks for nothing else."""
    exporter = HTMLExporter(template_file=str(FOLDER / "page.html.j2"))
    return exporter.from_notebook_node(notebook)[0]


def main(out: Path, names: list[str]) -> None:
    """Execute notebooks and write their pages.

    Args:
        out: The folder to write to.
        names: Which, without endings; all if there are none.
    """
    unknown = set(names) - {path.stem for path in notebooks()}
    if unknown:
        listed = ", ".join(path.stem for path in notebooks())
        raise SystemExit(f"there is no notebook {min(unknown)!r}; there are: {listed}")
    out.mkdir(parents=True, exist_ok=True)
    for path in notebooks():
        if names and path.stem not in names:
            continue
        notebook = nbformat.read(path, as_version=4)
        with TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        written = out / f"{path.stem}.html"
        written.write_text(page(notebook), encoding="utf-8")
        print(written)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python examples/export.py FOLDER [NOTEBOOK …]")
    main(Path(sys.argv[1]), sys.argv[2:])
