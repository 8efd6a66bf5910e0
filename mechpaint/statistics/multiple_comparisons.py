"""p-values of many comparisons, with the family-wise error rate controlled."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_ROUNDING = 1e-12


def adjusted(draws: Float[np.ndarray, "draw comparison"]) -> Float[np.ndarray, " comparison"]:
    """Two-sided p-values of differences being 0, adjusted to control the family-wise error rate.

    The step-down procedure of J. P. Romano and M. Wolf ("Exact and approximate stepdown methods for multiple hypothesis
    testing", JASA 100, 2005): each difference, over its standard error, is compared with the maximum, over the
    differences not yet rejected, of the resamples' deviations from their values. Paired resamples account for
    correlated differences, and the smallest p-value is 1 / (1 + resamples) however many comparisons there are;
    Bonferroni's and Holm's multiply it by their number. With few items the resamples' tails are too light: of 36
    comparisons of equals over 200, 100 and 60 items, one or more come out at 0.05 or below in 7, 8 and 10 of 100 cases.

    Args:
        draws: The differences first, then their bootstrap resamples.

    Returns:
        From 0 to 1; NaN for a difference that is NaN in some draw, which the others ignore.
    """
    p_values = np.full(draws.shape[1], np.nan)
    known = np.flatnonzero(~np.isnan(draws).any(axis=0))
    sizes, around = _studentised(draws[:, known])
    order = np.argsort(-sizes, kind="stable")
    largest = np.maximum.accumulate(around[:, order[::-1]], axis=1)[:, ::-1]  # of this and all smaller ones
    reached = (1 + (largest >= sizes[order]).sum(axis=0)) / (1 + len(around))
    p_values[known[order]] = np.maximum.accumulate(reached)
    return p_values


def _studentised(
    draws: Float[np.ndarray, "draw comparison"],
) -> tuple[Float[np.ndarray, " comparison"], Float[np.ndarray, "resample comparison"]]:
    """Each difference, and each resample's deviation from it, in standard errors."""
    values, errors = np.abs(draws[0]), draws[1:].std(axis=0)
    certain = errors <= _ROUNDING
    scale = np.where(certain, 1, errors)
    sizes = np.where(certain & (values > _ROUNDING), np.inf, values / scale)
    return sizes, np.abs(draws[1:] - draws[0]) / scale
