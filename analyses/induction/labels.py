"""Labels of the hook sets of `induction`."""

FULL = "full model"
WITHOUT = "without layer {}"
TWICE = "layer {} twice"
