"""Patching on any route: which activations carry what two prompts differ in.

from mechpaint import patching

metric = patching.logit_difference(model, " Mary", " John")
patched = patching.activation_patching(model, clean, corrupted, metric, "reverse(9, 20)", over="head")
patched.figure()
"""

from mechpaint.patching.activation import activation_patching
from mechpaint.patching.attribution import attribution_patching
from mechpaint.patching.metrics import Metric, logit_difference
from mechpaint.patching.patched import Patched, PatchedPaths
from mechpaint.patching.paths import path_patching

__all__ = [
    "Metric",
    "Patched",
    "PatchedPaths",
    "activation_patching",
    "attribution_patching",
    "logit_difference",
    "path_patching",
]
