"""How fast the parts are on this machine: each beside a slower way to do the same, and where a step's time goes."""
