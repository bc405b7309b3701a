"""Rollback: return the endpoint to the previous release, as gradually as a deploy."""

from collections.abc import Sequence
from dataclasses import replace

from scones.aws.client import AwsError, continues
from scones.aws.connection import Aws
from scones.aws.registry import ApprovalStatus
from scones.aws.sagemaker import Endpoint, EndpointFailed, UpdateRolledBack, choose_hosting, max_update_seconds
from scones.config.settings import Settings
from scones.deployment.lock import deployment_lock
from scones.deployment.pricing import endpoint_continues
from scones.deployment.releases import Release, list_releases, prune, restore_release, save_release
from scones.domain.errors import DeploymentError, MissingPrerequisite
from scones.domain.naming import CAPTURE_FOLDER
from scones.domain.progress import Reporter


class NoPreviousRelease(DeploymentError):
    """There is no previous release, or none that can be deployed."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"there is no release to return to: {reason}; to deploy another model, run: scones deploy MODEL"
        )


def rollback(aws: Aws, settings: Settings, report: Reporter) -> Release:
    """Return to the previous release, and delete the record of the current one.

    An interrupted deploy or rollback is completed: the newest finished release is live then.

    Raises:
        MissingPrerequisite: there is no endpoint.
        NoPreviousRelease: there is no previous release.
        EnvironmentBusy: another command is changing the environment.
        UpdateRolledBack: the old model failed under traffic or did not start; the newer one stays live.
    """
    with deployment_lock(aws, "rollback", 2 * max_update_seconds(settings.bake_seconds), report):
        return _rollback(aws, settings, report)


def _rollback(aws: Aws, settings: Settings, report: Reporter) -> Release:
    live = aws.sagemaker.wait_until_settled(aws.name, max_update_seconds(settings.bake_seconds))
    found = list_releases(aws.bucket)
    if live is None:
        raise MissingPrerequisite("deploy", aws.env)
    target = _choose(aws, found, live, report)
    settings = replace(settings, mode=target.mode, endpoint_instances=max(1, target.instances))
    left = [release for release in found if release.finished and release.number > target.number]
    for release in left:
        save_release(aws.bucket, release, finished=False)
    report.tell(f"endpoint {aws.name}: returning to release {target.number}, model {target.package}")
    hosting = choose_hosting(settings, aws.bucket.uri(CAPTURE_FOLDER), aws.stack.find_output("EndpointAlarmName"))
    hosting = aws.scaling.pause(hosting, sum(aws.sagemaker.instances(live).values()))
    try:
        with continues(endpoint_continues(settings, "rollback")):
            aws.sagemaker.update(aws.name, target.config, hosting)
    except (EndpointFailed, UpdateRolledBack, AwsError):
        for release in left:
            save_release(aws.bucket, release, finished=True)
        restore_release(aws, settings)
        raise
    aws.scaling.configure(settings)
    prune(aws, [release for release in found if release.number > target.number])
    report.tell(f"endpoint {aws.name} is in service: release {target.number}, model {target.package}")
    return target


def _choose(aws: Aws, found: Sequence[Release], live: Endpoint, report: Reporter) -> Release:
    finished = [release for release in found if release.finished]
    # After an interruption, or if the live configuration is no release, the newest release is the target.
    settled = found and found[-1].finished and found[-1].config == live.config
    serving = finished.pop() if settled else None
    for release in reversed(finished):
        if serving and release.mode != serving.mode:
            raise NoPreviousRelease(f"release {release.number} is {release.mode}, and an endpoint cannot change that")
        reason = _refuse(aws, release)
        if not reason:
            return release
        report.tell(f"release {release.number} is skipped: {reason}")
    first = f"release {serving.number} is the oldest that can be deployed" if serving else "there is no release"
    raise NoPreviousRelease(first)


def _refuse(aws: Aws, release: Release) -> str:
    """Why the release cannot be deployed; empty if it can."""
    package = aws.registry.find(release.model_uri)
    if package is None or package.approval is not ApprovalStatus.APPROVED:
        return f"its model {release.package} is no longer approved"
    model = aws.sagemaker.model_behind(release.config)
    if not model:
        return "its configuration is gone"
    # The repository keeps the last ten images; a new build would not restore this release's image.
    image = aws.sagemaker.image_of(model)
    return "" if image and aws.images.digest(image.rpartition(":")[2]) else "its container image is gone"
