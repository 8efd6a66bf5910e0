"""Lenses: what a model would say at every stage of a route, and which visits make it say so.

from mechpaint import lenses

lenses.logit_lens(model, "The capital of France is", "0-9 19-10 20-29", answer=" Paris")
"""

from mechpaint.lenses.attribution import Attribution, Contribution
from mechpaint.lenses.direct import direct_logit_attribution
from mechpaint.lenses.fitting import fit_tuned_lens
from mechpaint.lenses.logit import logit_lens
from mechpaint.lenses.readout import LensReadout
from mechpaint.lenses.tuned import TunedLens, tuned_lens

__all__ = [
    "Attribution",
    "Contribution",
    "LensReadout",
    "TunedLens",
    "direct_logit_attribution",
    "fit_tuned_lens",
    "logit_lens",
    "tuned_lens",
]
