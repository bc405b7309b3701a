"""An environment: its connection, its settings, and the results that commands saved for later ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from scones.config.settings import Settings
from scones.data.dataset import Sample, from_lines
from scones.domain.errors import MissingPrerequisite
from scones.domain.naming import manifest_key, result_key
from scones.domain.progress import Reporter

if TYPE_CHECKING:
    from scones.aws.connection import Aws
    from scones.steps.classify import ClassifyResult
    from scones.steps.deploy import DeployResult
    from scones.steps.stage import StageResult, TrainedModel
    from scones.steps.train import TrainingResult
    from scones.steps.up import StackOutputs

T = TypeVar("T")
AnyPath = str | PathLike[str]
"""A path, as a string or a Path."""


def as_path(path: AnyPath | None) -> Path | None:
    """Turn what a user names into a path."""
    return None if path is None else Path(path)


def save_result(aws: "Aws", step: str, result: object) -> None:
    """Save the newest *result* of *step*."""
    aws.bucket.put(result_key(step), msgspec.json.encode(result), "application/json")


def load_result(aws: "Aws", step: str, kind: type[T]) -> T:
    """Load the newest result of *step*.

    Raises:
        MissingPrerequisite: there is none, or an earlier version of Scones wrote it in another form.
    """
    body = aws.bucket.find(result_key(step))
    if body is None:
        raise MissingPrerequisite(step, aws.env)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise MissingPrerequisite(step, aws.env) from error


def auto_approve(_what: str = "") -> None:
    """Approve everything without a question: for --yes, and where nothing costs money."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment in an account, and the newest result of each step in its bucket."""

    aws: "Aws"
    settings: Settings
    report: Reporter
    agree: Callable[[], None] = auto_approve
    """Asks the user to approve the changes that `up` or `down` shows; raises if they decline."""
    agree_to_price: Callable[[str], None] = auto_approve
    """Asks the user to approve what a command costs on AWS, before it starts; raises if they decline."""

    def samples(self) -> tuple[Sample, ...]:
        """Read the manifest of the photos staged last."""
        staged = self._staged()
        return tuple(
            sample
            for split in ("train", "test")
            for sample in from_lines(self.aws.bucket.get(manifest_key(staged.version, split)), self.aws.bucket.name)
        )

    def _staged_samples(self) -> tuple[Sample, ...]:
        try:
            return self.samples()
        except MissingPrerequisite:
            return ()

    def _trained_model(self) -> "TrainedModel | None":
        """The last trained model, whichever photos it was trained on."""
        from scones.steps.stage import TrainedModel

        try:
            trained = self._trained()
        except MissingPrerequisite:
            return None
        return TrainedModel(trained.job, trained.model_uri, trained.data_version)

    def _classes(self) -> tuple[str, ...]:
        try:
            return self._staged().classes
        except MissingPrerequisite:
            return self.settings.classes

    def _with(self, classes: tuple[str, ...]) -> Settings:
        return replace(self.settings, classes=classes)

    def _staged(self) -> "StageResult":
        from scones.steps.stage import StageResult

        return self._load("stage", StageResult)

    def _trained(self) -> "TrainingResult":
        from scones.steps.train import TrainingResult

        return self._load("train", TrainingResult)

    def _up(self) -> "StackOutputs":
        from scones.steps.up import StackOutputs

        return self._load("up", StackOutputs)

    def _deployed(self) -> "DeployResult":
        from scones.steps.deploy import DeployResult

        return self._load("deploy", DeployResult)

    def _classified(self) -> "ClassifyResult":
        from scones.steps.classify import ClassifyResult

        return self._load("classify", ClassifyResult)

    def _save(self, step: str, result: T) -> T:
        save_result(self.aws, step, result)
        return result

    def _load(self, step: str, kind: type[T]) -> T:
        return load_result(self.aws, step, kind)
