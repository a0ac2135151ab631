"""Orthogonalisation, Muon, the routing of parameters to optimizers, schedules, lookahead."""
