"""One trial: a net trained from scratch with one seed, on the clock, and evaluated."""
