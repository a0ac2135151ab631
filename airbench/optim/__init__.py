"""Optimizers: Muon and orthogonalisation, assignment of parameters to optimizers, lookahead."""
