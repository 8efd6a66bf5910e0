"""Circuits: attention patterns, tokens, routes and induction heads as pictures, and scores of heads.

from mechpaint import circuits

circuits.attention(model, "The cat sat. The cat", layers=[5])
circuits.token_losses(model, "The cat sat. The cat")
circuits.route_diagram(mp.Route.parse("0-3 (4-13)x3 14-17", n_layers=18))
"""

from mechpaint.circuits.attention_patterns import attention, attention_heatmap, attention_view
from mechpaint.circuits.heads import HeadScore, Repeated, copying_scores, head_scores, repeated_tokens
from mechpaint.circuits.induction import induction_diagram
from mechpaint.circuits.tokens import Tokens, token_losses, token_probabilities
from mechpaint.display.svg import Diagram
from mechpaint.display.views import View, Views
from mechpaint.errors import DrawingError
from mechpaint.routes.diagram import route_diagram, routes_diagram

__all__ = [
    "Diagram",
    "DrawingError",
    "HeadScore",
    "Repeated",
    "Tokens",
    "View",
    "Views",
    "attention",
    "attention_heatmap",
    "attention_view",
    "copying_scores",
    "head_scores",
    "induction_diagram",
    "repeated_tokens",
    "route_diagram",
    "routes_diagram",
    "token_losses",
    "token_probabilities",
]
