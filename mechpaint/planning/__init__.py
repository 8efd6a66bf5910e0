"""The cost of a run, before it runs: layer calls, floating-point operations, memory, time, workers."""
