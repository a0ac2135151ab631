"""Interleaved trials of recipes: jobs, executors, run folders and progress display."""
