"""Routes and hook sets: their notation, algebra, prefix tree and schedule. No model in sight."""
