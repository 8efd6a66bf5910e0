"""Labels of the hook sets of `similarity`, and figure 15's start layer."""

FULL = "full model"
SKIP = "skip, N = {}"
REPEAT = "middle repeat, N = {}"

_PAPER_START, _PAPER_LAYERS = 13, 32


def usual_start(n_layers: int) -> int:
    """Scale figure 15's start layer, 13 of 32, to another depth: the nearest N that leaves a middle."""
    return min(round(n_layers * _PAPER_START / _PAPER_LAYERS), (n_layers - 2) // 2)
