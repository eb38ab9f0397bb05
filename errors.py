"""The errors that a user can fix. The command line prints each as one line and exits with 2."""


class EdgearkError(Exception):
    """Something is wrong with what the user gave; the message says what, and what to do."""


class ModelError(EdgearkError, ValueError):
    """A model name or argument that makes no network."""


class DataError(EdgearkError):
    """A data set is missing or broken."""


class MissingPartError(DataError):
    """A data set has no such part: no images to validate with, say."""


class SourceError(EdgearkError):
    """What was named is not a network, or cannot be made into one."""
