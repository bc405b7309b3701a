"""Releases: numbered records of deployments; an endpoint can return to one of the last three."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from scones.aws.connection import Aws
from scones.aws.hosting import Realtime, Serverless
from scones.aws.s3 import Bucket
from scones.aws.sagemaker import Endpoint, Watch
from scones.config.settings import Mode, Settings
from scones.domain.errors import DeploymentError
from scones.domain.naming import RELEASE_NUMBER_KEY, RELEASES_PREFIX, release_key
from scones.domain.progress import Reporter

MAX_RELEASES = 3
"""The live release, and two to return to."""


class ReleaseUnreadable(DeploymentError):
    """The record of a release is damaged, or of another version."""

    def __init__(self, uri: str) -> None:
        super().__init__(
            f"{uri} is not a valid record of a release; delete it (a rollback to this release is then impossible)"
        )
        self.uri = uri


@dataclass(frozen=True, slots=True)
class Release:
    """One deployment: which registered model, under which configuration, when and by which version of Scones.

    *finished* is false while a deploy creates it, and while a rollback leaves it.
    """

    number: int
    package: int
    model_uri: str
    classes: tuple[str, ...]
    endpoint: str
    config: str
    model: str
    mode: Mode
    instances: int
    capture_prefix: str
    """The prefix of the data capture in the bucket, by hour."""
    when: str
    by: str
    finished: bool = False
    person: str = ""
    """Whose credentials deployed it; empty if a version before 0.2 did."""


def list_releases(bucket: Bucket) -> list[Release]:
    """Read all kept releases, oldest first.

    Raises:
        ReleaseUnreadable: one cannot be read.
    """
    keys = [item.key for item in bucket.list(RELEASES_PREFIX)]
    return [_read(bucket, key, body) for key, body in zip(keys, bucket.get_all(keys), strict=True)]


def next_number(bucket: Bucket) -> int:
    """Take the next number, which no release ever had: one that was rolled back keeps its number."""
    while True:
        last, tag = bucket.find_version(RELEASE_NUMBER_KEY)
        number = int(last or 0) + 1
        if bucket.replace(RELEASE_NUMBER_KEY, str(number).encode(), tag) is not None:
            return number


def save_release(bucket: Bucket, release: Release, *, finished: bool) -> Release:
    """Save a release."""
    written = replace(release, finished=finished)
    bucket.put(release_key(release.number), msgspec.json.encode(written), "application/json")
    return written


def prune(aws: Aws, gone: Iterable[Release] = ()) -> None:
    """Delete the releases that are *gone*, interrupted ones before the newest finished one, and all but the last three.

    Configurations and models that no other release needs are deleted. A newer unfinished one may be a running deploy.
    """
    numbers = {release.number for release in gone}
    found = list_releases(aws.bucket)
    left = [release for release in found if release.number not in numbers]
    kept = [release for release in left if release.finished][-MAX_RELEASES:]
    kept += [release for release in left if not release.finished and release.number > (kept[-1].number if kept else 0)]
    needed = {name for release in kept for name in (release.config, release.model)}
    # The live configuration is kept, even if it belongs to no release.
    live = aws.sagemaker.find_endpoint(aws.name)
    if live:
        needed |= {live.config, aws.sagemaker.model_behind(live.config)}
    for config in aws.sagemaker.configs(aws.prefix):
        if config not in needed:
            aws.sagemaker.delete_config(config)
    for model in aws.sagemaker.models(aws.prefix):
        if model not in needed:
            aws.sagemaker.delete_model(model)
    # The records last: after an interruption the rest is found again.
    aws.bucket.remove(release_key(release.number) for release in found if release not in kept)


def restore_release(aws: Aws, settings: Settings, gone: Iterable[Release] = ()) -> None:
    """After a failed update, turn autoscaling on again, and delete what is not needed."""
    live = aws.sagemaker.find_endpoint(aws.name)
    if live and live.status == "InService":
        aws.scaling.configure(settings)
    prune(aws, gone)


def _read(bucket: Bucket, key: str, body: bytes) -> Release:
    try:
        return msgspec.json.decode(body, type=Release)
    except msgspec.DecodeError as error:
        raise ReleaseUnreadable(bucket.uri(key)) from error


def live_release(releases: Iterable[Release], endpoint: Endpoint | None) -> Release | None:
    """The newest finished release that *endpoint* serves; None during an update, or after a manual change."""
    served = [release for release in releases if release.finished and endpoint and release.config == endpoint.config]
    return max(served, key=lambda release: release.number, default=None)


def show_update(hosting: Realtime | Serverless, report: Reporter) -> Watch:
    """Returns what reports each watched step of an endpoint's update, with a countdown."""
    steps = len(hosting.shares)

    def named(step: int) -> str:
        return f"step {step} of {steps}, {hosting.shares[step - 1]}% of the requests"

    current, started, taken = ("", 0.0), 0.0, 0

    def show(endpoint: Endpoint) -> None:
        nonlocal current, started, taken
        new = endpoint.pending, endpoint.pending_since
        if new != current and current[0] == _WATCHED:
            report.countdown(0, hosting.bake_seconds, named(taken))
        if new[0] == _WATCHED and new != current:
            taken, started = min(taken + 1, steps), time.monotonic()
            report.tell(
                f"  step {taken} of {steps}: {hosting.shares[taken - 1]}% of the requests go to the new release; "
                f"if alarm {hosting.alarm} fires within {hosting.bake_seconds} s, they return to the one before"
            )
        current = new
        left = hosting.bake_seconds - (time.monotonic() - started)
        if new[0] == _WATCHED and left > 0:
            report.countdown(left, hosting.bake_seconds, named(taken))

    return show if hosting.bake_seconds else lambda _endpoint: None


_WATCHED = "Baking"
"""SageMaker's state of a new fleet that has traffic, while its alarms are watched."""


def announce_unwatched(hosting: Realtime | Serverless, undo: str, report: Reporter) -> Realtime | Serverless:
    """Say what an update risks that no alarm ends, and return the *hosting* for it; the command *undo* ends it."""
    if hosting.shares:
        report.tell(
            "warning: with --now the new release gets all requests at once and no alarm returns them: if it fails, "
            f"requests fail until you run: {undo}"
        )
    return hosting.unwatched()
