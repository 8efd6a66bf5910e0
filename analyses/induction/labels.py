"""Labels of the hook sets of `induction`."""

FULL = "full model"
WITHOUT = "without layer {}"
TWICE = "layer {} twice"


def measured(name: str) -> str:
    """A measure as reports write it."""
    return name.replace("where y ≠ x", "where the answer is not the trigger")
