"""Models: list the registered models, the releases and the newest page, with what is known of each; change nothing."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scones.aws.connection import Aws
from scones.aws.registry import ApprovalStatus, ModelPackage
from scones.aws.s3 import S3Object
from scones.deployment.releases import Release, list_releases, live_release
from scones.domain.errors import DataError
from scones.domain.naming import ALERTS_PREFIX
from scones.domain.result import StepResult


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model of the registry; *accuracy* is that of its *n* out-of-fold predictions, if it has any."""

    number: int
    live: bool
    status: ApprovalStatus
    reason: str
    """Why it is approved, rejected or waits: the verdict of the gate, or a person's reason."""
    accuracy: float | None
    n: int
    data_version: str
    version: str
    """The name of its content, which every answer carries."""
    model_uri: str


@dataclass(frozen=True, slots=True)
class ModelList(StepResult):
    """The registered models, the newest first."""

    TABLE = "models"
    FIGURE = ("models", "number", "accuracy")

    models: tuple[ListedModel, ...]


class ReleaseOutcome(StrEnum):
    """What became of a release."""

    LIVE = "live"
    EARLIER = "earlier"
    """It was live, and `rollback --to` can name it."""
    REJECTED = "model rejected"
    """It was live, and its model is no longer approved."""
    UNFINISHED = "not finished"
    """Its deployment was interrupted, or runs."""


@dataclass(frozen=True, slots=True)
class ListedRelease:
    """One release: its *model* in the registry, and when which person deployed it by which version of Scones."""

    number: int
    model: int
    when: str
    person: str
    by: str
    outcome: ReleaseOutcome
    live: bool
    mode: str
    config: str


@dataclass(frozen=True, slots=True)
class ReleaseList(StepResult):
    """The kept releases, the newest first."""

    TABLE = "releases"

    releases: tuple[ListedRelease, ...]


def list_models(aws: Aws) -> ModelList:
    """Read the registry."""
    live = live_release(list_releases(aws.bucket), aws.sagemaker.find_endpoint(aws.name))
    packages = [aws.registry.get(number) for number in sorted(aws.registry.numbers(), reverse=True)]
    return ModelList(tuple(_model(package, live) for package in packages))


def _model(package: ModelPackage, live: Release | None) -> ListedModel:
    facts = package.properties
    accuracy = facts.get("accuracy-out-of-fold")
    return ListedModel(
        number=package.number,
        live=live is not None and live.model_uri == package.model_uri,
        status=package.approval,
        reason=package.reason,
        accuracy=float(accuracy) if accuracy else None,
        n=int(facts.get("n", 0)),
        data_version=facts.get("data-version", ""),
        version=facts.get("model-version", ""),
        model_uri=package.model_uri,
    )


def list_kept_releases(aws: Aws) -> ReleaseList:
    """Read the records of the releases."""
    found = list_releases(aws.bucket)
    live = live_release(found, aws.sagemaker.find_endpoint(aws.name))
    numbers = {release.model_uri: aws.registry.find(release.model_uri) for release in found}

    def outcome(release: Release) -> ReleaseOutcome:
        package = numbers[release.model_uri]
        if release == live:
            return ReleaseOutcome.LIVE
        if not release.finished:
            return ReleaseOutcome.UNFINISHED
        approved = package is not None and package.approval is ApprovalStatus.APPROVED
        return ReleaseOutcome.EARLIER if approved else ReleaseOutcome.REJECTED

    return ReleaseList(
        tuple(
            ListedRelease(
                number=release.number,
                model=release.package,
                when=release.when,
                person=release.person,
                by=release.by,
                outcome=outcome(release),
                live=release == live,
                mode=release.mode,
                config=release.config,
            )
            for release in reversed(found)
        )
    )


class NoPage(DataError):
    """There is no report and no alert."""


@dataclass(frozen=True, slots=True)
class NewestPage(StepResult):
    """The newest report or alert: its file on this machine, and the object that it is a copy of, if it is an alert."""

    page: str
    uri: str


def newest_page(aws: Aws, folder: Path, *, alert: bool) -> NewestPage:
    """Find the newest report below *folder* or alert in the bucket, of which a copy is put into *folder*.

    With *alert* it is an alert, also where a report is newer.

    Raises:
        NoPage: there is neither.
    """
    report = None if alert else newest_report(folder, alerts=False)
    newest = max(aws.bucket.list(ALERTS_PREFIX), key=_when_page, default=None)
    if newest and _when_page(newest) > (Path(report.page).stat().st_mtime if report else 0):
        copy = copy_alert(aws, newest.key, aws.bucket.get(newest.key), folder)
        os.utime(copy, (newest.modified, newest.modified))
        return NewestPage(str(copy), aws.bucket.uri(newest.key))
    if alert and not newest:
        raise NoPage(f"environment {aws.env!r} has no alert; to check for drift, run: scones monitor")
    if report is None:
        raise NoPage(f"there is no report below {folder} and no alert; to write a report, run: scones evaluate")
    return report


def copy_alert(aws: Aws, key: str, body: bytes, folder: Path) -> Path:
    """Write the page of an alert, which lies at *key*, into *folder*; returns where."""
    copy = folder / f"alert-{aws.env}-{key.rpartition('/')[2]}"
    folder.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(body)
    return copy


def newest_report(folder: Path, *, alerts: bool = True) -> NewestPage | None:
    """Find the newest report below *folder*, or copy of an alert of any environment; None if there is none."""
    pages = (path for path in folder.rglob("*.html") if path.is_file() and (alerts or not path.match("alert-*")))
    found = max(((path.stat().st_mtime, str(path)) for path in pages), default=None)
    return NewestPage(found[1], "") if found else None


def _when_page(item: S3Object) -> float:
    return item.modified if item.key.endswith(".html") else 0.0
