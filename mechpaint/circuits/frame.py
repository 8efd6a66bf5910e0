"""Views in a notebook: each output is a page of its own, in a frame that can neither ask nor touch anything.

Notebooks have no place for a script that several outputs share: a cell may run again, an output may be cleared, some
front ends show every output in a page of its own. So each frame has circuitsvis's script with it, compressed; views
that are shown together share it.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from functools import cache

from mechpaint.circuits.view import View, drawing, library, source_of
from mechpaint.showing import safe

_HEAD, _TOKEN, _MOST = 460, 16, 900  # pixels


@dataclass(frozen=True)
class Views:
    """Interactive views that are shown together. They show themselves at the end of a notebook's cell.

    Args:
        views: In order.
    """

    views: tuple[View, ...]

    @property
    def html(self) -> str:
        """The frame: an `<iframe>` that may run scripts of its own and nothing else."""
        title = "; ".join(view.title for view in self.views)
        return (
            f'<iframe sandbox="allow-scripts" title="{safe(title)}" srcdoc="{safe(self.page)}" '
            f'style="width:100%;height:min({self._height()}px,150vw);border:1px solid #c9ced6;border-radius:8px;'
            'resize:vertical"></iframe>'
        )

    def _repr_html_(self) -> str:
        return self.html

    @property
    def page(self) -> str:
        """A page of HTML that needs nothing else, as it stands in the frame."""
        script = _unpacking(drawing(self.views))
        shown = "".join(
            f"<section><h3>{safe(view.title)}</h3>"
            f'<div class="view" id="view-{view.name}" role="img" aria-label="{safe(view.alt)}">'
            f"{safe(view.alt)}</div><p>{safe(view.caption)}</p></section>"
            for view in self.views
        )
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
            f"content=\"default-src 'none'; style-src 'unsafe-inline'; script-src {source_of(script)} "
            f'{source_of(library())}"><title>views</title><style>{_STYLE}</style>{shown}<script>{script}</script>'
        )

    def _height(self) -> int:
        """Room for the first view; the frame scrolls, and can be pulled longer."""
        return min(_MOST, _HEAD + _TOKEN * max(len(view.rows) for view in self.views))


_STYLE = (
    "body{margin:0;padding:8px 12px;background:#fff;color:#1c1e21;font:15px/1.5 system-ui,sans-serif}"
    "h3{font-size:1rem;margin:.4rem 0}.view h2,.view h3{font-size:.95rem}"
    ".view h4{font-size:.65rem;line-height:1.2}.view{overflow-x:auto}.view div:has(>canvas){width:100%!important}"
)


@cache
def _packed() -> str:
    return base64.b64encode(gzip.compress(library().encode(), 9, mtime=0)).decode()


def _unpacking(then: str) -> str:
    """A script that puts the library in its place and then draws. What it inserts is allowed by its hash alone."""
    return (
        f'const packed = Uint8Array.from(atob("{_packed()}"), c => c.charCodeAt(0));\n'
        'new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text().then(text => {\n'
        'const script = document.createElement("script"); script.textContent = text; document.body.append(script);\n'
        f"{then}}});"
    )
