"""What the hook sets of `similarity` are called, and where figure 15's middle begins."""

FULL = "full model"
SKIP = "skip, N = {}"
REPEAT = "middle repeat, N = {}"

_PAPER_START, _PAPER_LAYERS = 13, 32


def usual_start(n_layers: int) -> int:
    """Figure 15's start layer N, 13 of 32, for another depth: the nearest that leaves a middle."""
    return min(round(n_layers * _PAPER_START / _PAPER_LAYERS), (n_layers - 2) // 2)
