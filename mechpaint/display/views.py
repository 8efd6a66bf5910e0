"""Interactive views with circuitsvis, from the script in its package, so that pages need no network.

circuitsvis's own notebook output loads scripts from the network and trusts its tokens. Here, pages include the script
once, with one call per view, and data from models can neither end the script nor become markup.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from mechpaint.display.sanitize import safe
from mechpaint.errors import DrawingError


@dataclass(frozen=True)
class View:
    """An interactive view with its caption, as `attention_view` makes it; displays itself in notebooks.

    Args:
        name: Anchor in the page: letters, digits and hyphens.
        title: Heading.
        caption: The finding, shown below the view.
        alt: Text alternative, also shown if scripts do not run.
        component: The circuitsvis component, such as `"AttentionHeads"`.
        props: The component's properties, as plain values. Escape tokens for components that set markup.
        columns: Column names of an equivalent table.
        rows: Rows of that table, each with one cell per column.

    Raises:
        DrawingError: A name with other characters.
    """

    name: str
    title: str
    caption: str
    alt: str
    component: str
    props: Mapping[str, Any]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9-]+", self.name):
            raise DrawingError(f"a view cannot be called {self.name!r}: expected letters, digits and hyphens")

    def _repr_html_(self) -> str:
        return Views((self,)).html


@dataclass(frozen=True)
class Script:
    """The script of a page with views, and its hash for the page's Content-Security-Policy."""

    text: str
    source: str

    @classmethod
    def of(cls, views: Sequence[View]) -> Script:
        """Make the script that draws each view into the element with the id `view-<name>`."""
        text = "\n".join(["", library(), drawing(views), ""])
        return cls(text, source_of(text))


_WHEN_SEEN = """
const draw = id => { views[id]?.(); delete views[id]; };
const seen = new IntersectionObserver(found => found.forEach(one => one.isIntersecting && draw(one.target.id)), {
  rootMargin: "300px"
});
Object.keys(views).forEach(id => seen.observe(document.getElementById(id)));
addEventListener("beforeprint", () => Object.keys(views).forEach(draw));
"""
"""A large view freezes the page for seconds, so each is drawn only when it comes near, or is printed."""


def drawing(views: Sequence[View]) -> str:
    """Make the script that draws views, for use after the library has loaded."""
    calls = "".join(
        f"{_json(f'view-{view.name}')}: () => {{ "
        f"CircuitsVis.render({_json(f'view-{view.name}')}, CircuitsVis.{view.component}, {_json(view.props)}); }},\n"
        for view in views
    )
    return f"const views = {{\n{calls}}};{_WHEN_SEEN}"


def source_of(script: str) -> str:
    """The source expression of a Content-Security-Policy for a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def library() -> str:
    """circuitsvis's script, made safe to inline in a page."""
    text = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    kept = [line for line in text.split("\n") if not line.startswith("//# sourceMappingURL=")]
    # these occur only in the script's strings, where `\/` is `/` and `\!` is `!`
    return "\n".join(kept).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _json(value: object) -> str:
    """Encode as ASCII JSON that is also JavaScript, and cannot end a script or begin a tag."""
    text = json.dumps(value, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


_HEAD, _TOKEN, _MOST = 460, 16, 900  # pixels


@dataclass(frozen=True)
class Views:
    """Interactive views shown together; they display themselves in notebooks.

    Args:
        views: The views, in order.
    """

    views: tuple[View, ...]

    @property
    def html(self) -> str:
        """A sandboxed `<iframe>` that may only run its own scripts."""
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
        """The self-contained HTML page in the frame."""
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
        """The height of the first view; the frame scrolls and can be resized."""
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
    """Make a script that unpacks and inserts the library, which is allowed by its hash, and then draws."""
    return (
        f'const packed = Uint8Array.from(atob("{_packed()}"), c => c.charCodeAt(0));\n'
        'new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text().then(text => {\n'
        'const script = document.createElement("script"); script.textContent = text; document.body.append(script);\n'
        f"{then}}});"
    )
