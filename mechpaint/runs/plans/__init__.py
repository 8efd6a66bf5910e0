"""Plans, one for each kind of analysis: the cells to compute, the configuration, the schema."""
