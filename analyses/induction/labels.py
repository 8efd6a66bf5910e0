"""What the hook sets of `induction` are called."""

FULL = "full model"
WITHOUT = "without layer {}"
TWICE = "layer {} twice"
