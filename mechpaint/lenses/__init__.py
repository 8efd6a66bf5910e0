"""Lenses: what a model would say at every stage of a route, and which visits make it say so.

from mechpaint import lenses

lenses.logit_lens(model, "The capital of France is", "0-9 19-10 20-29", answer=" Paris")
"""

from mechpaint.lenses.attribution import Attribution, Contribution
from mechpaint.lenses.direct_logit_attribution import direct_logit_attribution
from mechpaint.lenses.logit_lens import logit_lens
from mechpaint.lenses.readout import LensReadout

__all__ = ["Attribution", "Contribution", "LensReadout", "direct_logit_attribution", "logit_lens"]
