from .embeddings import score_pairs as score_pairs
from .score import PrefixTree as PrefixTree
from .score import score_items as score_items
