"""The errors that Scones raises on purpose: each says what, which, and what to do next."""


class SconesError(Exception):
    """The base of them all: the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class SettingsError(SconesError):
    """A setting is unknown, or its value cannot be used."""


class MissingPrerequisite(SconesError):
    """A step needs the result of an earlier one, which has not run in this environment."""

    def __init__(self, step: str, env: str) -> None:
        super().__init__(f"environment {env!r} {_MISSING[step]}; run: scones {step} --env {env}")
        self.step = step
        self.env = env


_MISSING = {
    "stage": "has no staged dataset",
    "train": "has no trained model",
    "up": "does not exist",
    "deploy": "has no endpoint",
    "classify": "has no classified photos",
    "evaluate": "has no evaluation",
    "monitor": "has no monitoring run",
    "dispatch": "has no dispatch plan",
}
