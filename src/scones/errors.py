"""The errors that Scones raises on purpose: each says what, which, and what to do next."""


class SconesError(Exception):
    """The base of them all: the command line prints it as one line and exits with 1."""
