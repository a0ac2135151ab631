"""Small experiments, each about one claim that is made of Muon or of Adam: a table, a figure, the numbers as JSON."""
