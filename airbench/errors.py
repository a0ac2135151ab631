"""What went wrong, for the person at the terminal: always one line, always with the remedy."""


class AirbenchError(Exception):
    """Something the user can put right. The command line prints it as one line and exits with 2."""


class RecipeError(AirbenchError):
    """A recipe that cannot be read, or that asks for something impossible."""


class DataError(AirbenchError):
    """Images that cannot be found, read, or trusted."""


class DeviceError(AirbenchError):
    """A device or a precision that this machine does not have."""


class TrialError(Exception):
    """A trial that cannot go on (a loss of NaN, say). It is recorded as failed; other trials go on."""
