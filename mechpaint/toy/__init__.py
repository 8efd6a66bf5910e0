"""The in-context bigram task and toy transformers that learn it (arXiv 2306.00802)."""
