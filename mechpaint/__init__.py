"""Reroute, repeat, average and read the layers of transformers, as hook sets on TransformerLens models.

import mechpaint as mp
from mechpaint.hooks import Average, Loop, ReadAttention

model = mp.load("smollm2-135m")
with mp.attach(model, Average(4, 13) + Loop(4, 13, times=3) + ReadAttention(layers=[5])) as session:
    logits = model("The capital of France is")
session.route, session["attention"]
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]

__version__ = "0.1.0"
