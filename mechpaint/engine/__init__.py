"""Run a TransformerLens bridge along routes: the only package, with `models`, that knows Hugging Face's internals."""
