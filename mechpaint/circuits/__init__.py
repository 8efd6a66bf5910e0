"""Circuits, to be looked at: attention patterns, tokens, routes and induction heads, in notebooks and reports.

from mechpaint import circuits

circuits.attention(model, "The cat sat. The cat", layers=[5])
circuits.token_losses(model, "The cat sat. The cat")
circuits.route_diagram(mp.Route.parse("0-3 (4-13)x3 14-17", n_layers=18))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.lazy import on_first_use

if TYPE_CHECKING:
    from mechpaint.circuits.diagram import Diagram
    from mechpaint.circuits.frame import Views
    from mechpaint.circuits.heads import attention, attention_heatmap, attention_view
    from mechpaint.circuits.induction import induction_diagram
    from mechpaint.circuits.routes import DiagramError, route_diagram, routes_diagram
    from mechpaint.circuits.tokens import Tokens, token_losses, token_probabilities
    from mechpaint.circuits.view import View, ViewError

_HOME = {
    "Diagram": "diagram",
    "DiagramError": "routes",
    "Tokens": "tokens",
    "View": "view",
    "ViewError": "view",
    "Views": "frame",
    "attention": "heads",
    "attention_heatmap": "heads",
    "attention_view": "heads",
    "induction_diagram": "induction",
    "route_diagram": "routes",
    "routes_diagram": "routes",
    "token_losses": "tokens",
    "token_probabilities": "tokens",
}

__all__ = [
    "Diagram",
    "DiagramError",
    "Tokens",
    "View",
    "ViewError",
    "Views",
    "attention",
    "attention_heatmap",
    "attention_view",
    "induction_diagram",
    "route_diagram",
    "routes_diagram",
    "token_losses",
    "token_probabilities",
]

__getattr__, __dir__ = on_first_use(__name__, _HOME)
