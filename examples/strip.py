"""Make the notebooks of this folder as they are committed: without results, and without traces of where they were run.

python -m examples.strip
"""

from __future__ import annotations

import copy

import nbformat
from nbformat import NotebookNode

from examples.export import notebooks
from mechpaint.files import write_text


def stripped(notebook: NotebookNode) -> NotebookNode:
    """A copy with its title, its cells and their ids, and nothing else that changes from run to run."""
    made = copy.deepcopy(notebook)
    made.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        title=notebook.metadata.title,
    )
    for cell in made.cells:
        cell.metadata = NotebookNode()
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return made


def text_of(notebook: NotebookNode) -> str:
    """A notebook as it stands in a file."""
    return nbformat.writes(notebook) + "\n"


def main() -> None:
    """Strip every notebook that is not stripped, and say which."""
    for path in notebooks():
        wanted = text_of(stripped(nbformat.read(path, as_version=4)))
        if path.read_text(encoding="utf-8") != wanted:
            write_text(path, wanted)
            print(path)


if __name__ == "__main__":
    main()
