"""Interactive views: circuitsvis, drawn from the script in its own package, so that a page needs no network.

What circuitsvis gives for a notebook asks the network and trusts its tokens. Here the page's script is the package's,
once, followed by a call for each view; whatever comes from a model stands in it as data that cannot end the script or
become markup.
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
    """An interactive view with what it says. `attention_view` makes one.

    At the end of a notebook's cell it shows itself, as `Views` do.

    Args:
        name: Its place in the page: letters, digits and hyphens.
        title: A heading.
        caption: What was found; shown under it.
        alt: What it shows, for those who do not see it, and in its place where scripts do not run.
        component: The circuitsvis component, such as `"AttentionHeads"`.
        props: What the component takes, as plain values. Components that set markup need their tokens escaped first.
        columns: The heads of a table that says the same, for those who read rather than look.
        rows: The table's rows, as many cells as heads.
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
        pass

        return Views((self,)).html


@dataclass(frozen=True)
class Script:
    """What a page with views runs.

    Attributes:
        text: What stands between `<script>` and `</script>`.
        source: What the page's Content-Security-Policy allows: this text, by its SHA-256, and nothing else.
    """

    text: str
    source: str

    @classmethod
    def of(cls, views: Sequence[View]) -> Script:
        """The script that draws all views of a page, each into the element with the id `view-<name>`."""
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
"""A large view takes seconds, in which a page stands still: each is drawn when it comes near, or is printed."""


def drawing(views: Sequence[View]) -> str:
    """The script that draws views, each in its element, once the library is there."""
    calls = "".join(
        f"{_json(f'view-{view.name}')}: () => {{ "
        f"CircuitsVis.render({_json(f'view-{view.name}')}, CircuitsVis.{view.component}, {_json(view.props)}); }},\n"
        for view in views
    )
    return f"const views = {{\n{calls}}};{_WHEN_SEEN}"


def source_of(script: str) -> str:
    """What a Content-Security-Policy says to allow this script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def library() -> str:
    """circuitsvis's script as it can stand inside a page."""
    text = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    kept = [line for line in text.split("\n") if not line.startswith("//# sourceMappingURL=")]
    # within a string of the script, which is where it has these, `\/` is `/` and `\!` is `!`
    return "\n".join(kept).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _json(value: object) -> str:
    """JSON in ASCII that is JavaScript as well, and in which nothing ends a script or begins a tag."""
    text = json.dumps(value, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


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
