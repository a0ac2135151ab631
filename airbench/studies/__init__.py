"""Small experiments, each on one claim about Muon or Adam: a table, a figure, and the numbers as JSON."""
