"""Errors shown to the user: always one line, always with a remedy."""


class AirbenchError(Exception):
    """An error that the user can fix. The command line prints it as one line and exits with code 2."""


class RecipeError(AirbenchError):
    """A recipe that cannot be read or that asks for something impossible."""


class DataError(AirbenchError):
    """Images that cannot be found, read, or trusted."""


class DeviceError(AirbenchError):
    """A device or a precision that this machine does not have."""


class TrialError(Exception):
    """A trial that cannot continue (a NaN loss, say). It is recorded as failed; other trials continue."""
