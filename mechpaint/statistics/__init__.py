"""From records to claims: metrics, bootstrap intervals, random effects, many comparisons."""
