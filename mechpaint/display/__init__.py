"""How things show themselves: SVG, figures, interactive views, summaries, progress."""
