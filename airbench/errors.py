"""Errors shown to the user: always one line, always with a remedy."""

import difflib
from collections.abc import Iterable


class AirbenchError(Exception):
    """An error that the user can fix. The command line prints it as one line and exits with code 2."""


class RecipeError(AirbenchError):
    """A recipe that cannot be read or that asks for something impossible."""


class NotCapturableError(RecipeError, RuntimeError):
    """A step that a CUDA graph would repeat wrongly. Where the recipe leaves the choice, it is not captured then."""


class DataError(AirbenchError):
    """Images that cannot be found, read, or trusted."""


class DeviceError(AirbenchError):
    """A device or a precision that this machine does not have."""


OUT_OF_MEMORY = (
    "out of memory: lower train.batch_size or evaluate.batch_size, use a narrower net or fewer images "
    "(data.train_images), or raise the limit"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on any device: PyTorch says so by several exceptions, and some only in words."""
    words = str(error).lower()
    unmapped = isinstance(error, ImportError | OSError) and "failed to map segment" in words  # a library does not fit
    told = "memory" in words and ("alloc" in words or "out of" in words)
    told = told and "out of resource" not in words  # of Triton: a kernel asks for more shared memory than the GPU has
    return isinstance(error, MemoryError) or unmapped or told


class TrialError(AirbenchError):
    """A trial that cannot continue (a NaN loss, say). It is recorded as failed; other trials continue."""


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """Return the one of ``valid`` that ``word`` was probably meant to be; None if none is close."""
    return next(iter(difflib.get_close_matches(word, list(valid), n=1)), None)
