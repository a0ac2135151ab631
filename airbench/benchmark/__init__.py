"""Benchmarks: each fast implementation against a slower one, and where the time of a training step goes."""
