"""n trials of one or several recipes: in turn, each recipe into a run folder of its own, with what people see meanwhile."""
