"""The errors that Scones raises on purpose: each says what, which, and what to do next."""


class SconesError(Exception):
    """The base of them all: the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class SettingsError(SconesError):
    """A setting is unknown, or its value cannot be used."""


class NothingYet(SconesError):
    """A step needs the result of an earlier one, which has not run in this environment."""

    def __init__(self, step: str, env: str) -> None:
        super().__init__(f"nothing {_DONE[step]} in environment {env!r} yet; run: scones {step} --env {env}")
        self.step = step
        self.env = env


_DONE = {
    "stage": "is staged",
    "train": "is trained",
    "up": "is up",
    "deploy": "is deployed",
    "classify": "was classified",
    "evaluate": "was evaluated",
    "monitor": "was monitored",
    "dispatch": "was dispatched",
}
