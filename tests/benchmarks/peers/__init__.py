"""This library against what people would use in its place, on the same tokens: `make bench-peers`."""
