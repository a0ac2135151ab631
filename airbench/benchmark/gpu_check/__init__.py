"""What the owner of a GPU runs once: is everything right and as fast as it should be? One folder, one page."""

from airbench.benchmark.gpu_check.check import WAYS, Options, run_checks

__all__ = ["WAYS", "Options", "run_checks"]
