"""Rollback: return the endpoint to the previous release, as gradually as a deploy."""

from collections.abc import Sequence
from dataclasses import replace

from scones.aws.client import AwsError, continues
from scones.aws.connection import Aws
from scones.aws.hosting import choose_hosting, max_update_seconds
from scones.aws.registry import ApprovalStatus
from scones.aws.sagemaker import Endpoint, EndpointFailed, UpdateRolledBack
from scones.config.settings import Settings
from scones.deployment.lock import deployment_lock
from scones.deployment.pricing import endpoint_continues
from scones.deployment.releases import (
    MAX_RELEASES,
    Release,
    announce_unwatched,
    list_releases,
    prune,
    restore_release,
    save_release,
    show_update,
)
from scones.domain.errors import DeploymentError, MissingPrerequisite
from scones.domain.naming import CAPTURE_FOLDER
from scones.domain.progress import Reporter


class NoPreviousRelease(DeploymentError):
    """There is no previous release, or not the one that was named, or it cannot be deployed."""

    def __init__(self, reason: str, number: int | None = None) -> None:
        what = "there is no release to return to" if number is None else f"cannot return to release {number}"
        super().__init__(f"{what}: {reason}; to deploy another model, run: scones deploy MODEL")


def rollback(aws: Aws, settings: Settings, report: Reporter, *, to: int | None = None, now: bool = False) -> Release:
    """Return to the previous release or to release *to*, and delete the records of the newer ones.

    With *now* all traffic moves at once, and no alarm ends the update. An interrupted deploy or rollback is completed:
    the newest finished release is live then.

    Raises:
        MissingPrerequisite: there is no endpoint.
        NoPreviousRelease: there is no previous release, or *to* cannot be returned to.
        EnvironmentBusy: another command is changing the environment.
        UpdateRolledBack: the old model failed under traffic or did not start; the newer one stays live.
    """
    with deployment_lock(aws, "rollback", 2 * max_update_seconds(settings.watch_seconds), report):
        return _rollback(aws, settings, report, to, now)


def _rollback(aws: Aws, settings: Settings, report: Reporter, to: int | None, now: bool) -> Release:
    live = aws.sagemaker.wait_until_settled(aws.name, max_update_seconds(settings.watch_seconds))
    found = list_releases(aws.bucket)
    if live is None:
        raise MissingPrerequisite("deploy", aws.env)
    target = _choose(aws, found, live, report) if to is None else _find(aws, found, live, to)
    settings = replace(settings, mode=target.mode, endpoint_instances=max(1, target.instances))
    left = [release for release in found if release.finished and release.number > target.number]
    for release in left:
        save_release(aws.bucket, release, finished=False)
    report.tell(f"endpoint {aws.name}: returning to release {target.number}, model {target.package}")
    hosting = choose_hosting(settings, aws.bucket.uri(CAPTURE_FOLDER), aws.stack.find_output("EndpointAlarmName"))
    hosting = aws.scaling.pause(hosting, sum(aws.sagemaker.instances(live).values()))
    if now:
        newest = left[-1].package if left else target.package
        hosting = announce_unwatched(hosting, f"scones deploy {newest}", report)
    try:
        with continues(endpoint_continues(settings, "rollback")):
            aws.sagemaker.update(aws.name, target.config, hosting, show_update(hosting, report))
    except (EndpointFailed, UpdateRolledBack, AwsError) as error:
        for release in left:
            save_release(aws.bucket, release, finished=True)
        restore_release(aws, settings)
        if hosting.alarm and hosting.alarm in str(error):
            error.add_note("if that alarm fires because of the release that is live now, run: scones rollback --now")
        raise
    aws.scaling.configure(settings)
    prune(aws, [release for release in found if release.number > target.number])
    report.tell(f"endpoint {aws.name} is in service: release {target.number}, model {target.package}")
    return target


def _serving(found: Sequence[Release], live: Endpoint) -> Release | None:
    """The live release; None after an interruption, or if the live configuration is no release."""
    return found[-1] if found and found[-1].finished and found[-1].config == live.config else None


def _choose(aws: Aws, found: Sequence[Release], live: Endpoint, report: Reporter) -> Release:
    serving = _serving(found, live)
    # After an interruption the newest release is the target.
    for release in reversed([release for release in found if release.finished and release != serving]):
        if serving and release.mode != serving.mode:
            raise NoPreviousRelease(_other_mode(release))
        reason = _refuse(aws, release)
        if not reason:
            return release
        report.tell(f"release {release.number} is skipped: {reason}")
    first = f"release {serving.number} is the oldest that can be deployed" if serving else "there is no release"
    raise NoPreviousRelease(first)


def _find(aws: Aws, found: Sequence[Release], live: Endpoint, number: int) -> Release:
    """The release of that number, if the endpoint can return to it."""
    serving, release = _serving(found, live), next((each for each in found if each.number == number), None)
    if release is None:
        kept = ", ".join(str(each.number) for each in found) or "none"
        reason = f"it does not exist, or is older than the last {MAX_RELEASES}; kept: {kept}"
    elif release == serving:
        reason = "it is live"
    elif not release.finished:
        reason = "its deployment has not ended"
    elif serving and release.mode != serving.mode:
        reason = _other_mode(release)
    else:
        reason = _refuse(aws, release)
    if release is None or reason:
        raise NoPreviousRelease(reason, number)
    return release


def _other_mode(release: Release) -> str:
    return f"release {release.number} is {release.mode}, and an endpoint cannot change that"


def _refuse(aws: Aws, release: Release) -> str:
    """Why the release cannot be deployed; empty if it can."""
    package, which = aws.registry.find(release.model_uri), f"model {release.package}"
    if package is None:
        return f"its {which} is no longer in the registry"
    if package.approval is not ApprovalStatus.APPROVED:
        return f"its {which} is no longer approved: {package.reason}"
    if aws.bucket.age_seconds(aws.bucket.key(release.model_uri)) is None:
        return f"the file of {which} is gone: {release.model_uri}"
    model = aws.sagemaker.model_behind(release.config)
    if not model:
        return "its configuration is gone"
    # The repository keeps the last ten images; a new build would not restore this release's image.
    image = aws.sagemaker.image_of(model)
    return "" if image and aws.images.digest(image.rpartition(":")[2]) else "its container image is gone"
