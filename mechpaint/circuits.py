"""Interactive views: circuitsvis, drawn from the script in its own package, so that a page needs no network.

What circuitsvis gives for a notebook asks the network and trusts its tokens. Here the page's script is the package's,
once, followed by a call for each view; whatever comes from a model stands in it as data that cannot end the script or
become markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor

from mechpaint.errors import InputError

MOST_TOKENS = 64
MOST_HEADS = 8
_DECIMALS = 4


class ViewError(InputError):
    """A view that circuitsvis would draw wrongly, or so slowly that the page stands still."""


@dataclass(frozen=True)
class View:
    """An interactive view with what it says. `attention_view` makes one.

    Args:
        name: Its place in the page: letters, digits and hyphens.
        title: A heading.
        caption: What was found; shown under it.
        alt: What it shows, for those who do not see it, and in its place where scripts do not run.
        component: The circuitsvis component, such as `"AttentionHeads"`.
        props: What the component takes, as plain values. Components that set markup need their tokens escaped first.
    """

    name: str
    title: str
    caption: str
    alt: str
    component: str
    props: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9-]+", self.name):
            raise ViewError(f"a view cannot be called {self.name!r}: expected letters, digits and hyphens")


def attention_view(
    name: str,
    title: str,
    caption: str,
    alt: str,
    tokens: Sequence[str],
    patterns: Float[Tensor, "head query key"],
    head_names: Sequence[str],
) -> View:
    """Attention patterns as heatmaps, one a head; pointing at one shows it large, with its tokens and values.

    Args:
        name: Its place in the page: letters, digits and hyphens.
        title: A heading.
        caption: What was found; shown under it.
        alt: What it shows, for those who do not see it.
        tokens: What stands at each position, at most `MOST_TOKENS`.
        patterns: The attention that each query pays to each key, both at the tokens' positions.
        head_names: What each head is called, at most `MOST_HEADS`.

    Raises:
        ViewError: Tokens or names that are not as many as the patterns have, more than can be drawn in a moment, or
            attention that is not a number.
    """
    heads, queries, keys = patterns.shape
    if not (queries == keys == len(tokens) and heads == len(head_names)):
        raise ViewError(
            f"the view {name!r} got {len(tokens)} tokens and {len(head_names)} head names for patterns of "
            f"{heads} heads, {queries} queries and {keys} keys; expected a name a head and a token a query and key"
        )
    if not (0 < len(tokens) <= MOST_TOKENS and 0 < heads <= MOST_HEADS):
        raise ViewError(
            f"the view {name!r} got {heads} heads of {len(tokens)} tokens; expected 1 to {MOST_HEADS} heads and 1 to "
            f"{MOST_TOKENS} tokens: beyond that a page stands still while it draws. Choose some, or draw a heatmap"
        )
    if not patterns.isfinite().all():
        raise ViewError(f"the view {name!r} got attention that is not a number, which would be drawn as if it were 0")
    # float64: what is rounded as float32 is written with all its digits again
    rounded = patterns.detach().cpu().double().round(decimals=_DECIMALS)
    props = {
        "tokens": list(tokens),
        "attention": cast(Any, rounded).tolist(),
        "attentionHeadNames": list(head_names),
        "maskUpperTri": not bool(rounded.triu(1).any()),
    }
    return View(name, title, caption, alt, "AttentionHeads", props)


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
        calls = [
            f"CircuitsVis.render({_json(f'view-{view.name}')}, CircuitsVis.{view.component}, {_json(view.props)});"
            for view in views
        ]
        text = "\n".join(["", _library(), *calls, ""])
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return cls(text, f"'sha256-{digest}'")


@cache
def _library() -> str:
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
