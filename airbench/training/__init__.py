"""One trial: train a net from scratch with one seed, timed, and evaluate it."""
