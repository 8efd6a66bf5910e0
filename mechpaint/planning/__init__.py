"""What a run will cost before it is run: layer calls, floating-point operations, memory, time, workers."""
