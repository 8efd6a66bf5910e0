"""From items to records: encode, batch, score under many routes."""
