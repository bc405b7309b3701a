"""An environment: its connection, its settings, and the results that commands saved for later ones."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from scones.config.settings import Settings
from scones.data.dataset import Sample, from_lines
from scones.domain.errors import DataError, MissingPrerequisite
from scones.domain.naming import manifest_key, result_key
from scones.domain.progress import Reporter

if TYPE_CHECKING:
    from scones.aws.connection import Aws
    from scones.aws.registry import ModelPackage
    from scones.steps.classify import ClassifyResult
    from scones.steps.deploy import DeployResult
    from scones.steps.stage import StageResult, TrainedModel
    from scones.steps.train import TrainingResult
    from scones.steps.up import StackOutputs

T = TypeVar("T")
AnyPath = str | PathLike[str]
"""A path, as a string or a Path."""


ModelReference = int | AnyPath
"""A model: its number in the registry, the path of its file or folder, or the s3:// URI of its file."""


def as_place(named: AnyPath) -> str:
    """A path or a URI as text; a Path of a URI has lost one of its slashes."""
    return re.sub(r"^s3:/+", "s3://", fspath(named))


def read_reference(named: ModelReference) -> int | str | Path:
    """Tell a number, a URI and a path apart, however a user wrote them; `./4` is a path."""
    if isinstance(named, int):
        return named
    text = as_place(named)
    if text.isascii() and text.isdecimal():
        return int(text)
    return text if text.startswith("s3://") else Path(text)


class NotRegistered(DataError):
    """A model that was named by its file is not in the registry."""

    def __init__(self, named: str, env: str) -> None:
        super().__init__(
            f"environment {env!r} has no model of the file {named}; to see its models, run: scones models; to "
            "train one, run: scones train"
        )


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

    def model(self, named: ModelReference) -> "ModelPackage":
        """Find a model in the registry; a file is recognized by its content.

        Raises:
            NoSuchModel: there is none of that number.
            NotRegistered: the file at that URI or path was not registered.
            InvalidModelFile: the file cannot be read.
        """
        found = read_reference(named)
        if isinstance(found, int):
            return self.aws.registry.get(found)
        if isinstance(found, Path):
            from scones.model.model_file import open_model_file

            with open_model_file(found) as model_file:
                version = model_file.version
            packages = (self.aws.registry.get(number) for number in sorted(self.aws.registry.numbers(), reverse=True))
            package = next((each for each in packages if each.properties.get("model-version") == version), None)
        else:
            package = self.aws.registry.find(found)
        if package is None:
            raise NotRegistered(str(found), self.aws.env)
        return package

    def model_file(self, named: ModelReference, folder: Path) -> Path:
        """Return the path of a model's file; one that is in S3 is downloaded into *folder*, which exists.

        Raises:
            NoSuchModel: there is none of that number.
            NotRegistered: there is no such object.
        """
        found = read_reference(named)
        if isinstance(found, Path):
            return found
        uri = self.aws.registry.get(found).model_uri if isinstance(found, int) else found
        body = self.aws.bucket.find_uri(uri)
        if body is None:
            raise NotRegistered(uri, self.aws.env)
        path = folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:12]}.tar.gz"
        path.write_bytes(body)
        return path

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
