"""Display of objects: SVG, figures, interactive views, summaries, progress."""
