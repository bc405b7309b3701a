"""Rollback: have the endpoint serve the release before, watched as a deploy is."""

from collections.abc import Sequence
from dataclasses import replace

from scones.aws.client import AwsError
from scones.aws.connection import Aws
from scones.aws.registry import ApprovalStatus
from scones.aws.sagemaker import Endpoint, EndpointFailed, UpdateRolledBack, hosting_of, max_update_seconds
from scones.config.settings import Settings
from scones.deployment.lock import deployment_lock
from scones.deployment.releases import Release, list_releases, prune, restore_release, save_release
from scones.domain.errors import MissingPrerequisite, SconesError
from scones.domain.keys import CAPTURE_FOLDER
from scones.domain.progress import Reporter


class NoPreviousRelease(SconesError):
    """There is no release before the one that serves, or none that may serve."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"there is nothing to go back to: {reason}; to serve another model, run: scones deploy MODEL")


def rollback(aws: Aws, settings: Settings, report: Reporter) -> Release:
    """Return to the release before the one that serves, which is then forgotten; again, to the one before that.

    A deploy or a rollback that was cut off is brought to its end: the newest finished release serves.

    Raises:
        MissingPrerequisite: there is no endpoint.
        NoPreviousRelease: there is no release before.
        EnvironmentBusy: another command changes the environment.
        UpdateRolledBack: the old model failed under traffic or did not start; the newer one goes on serving.
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
    report.tell(f"endpoint {aws.name}: going back to release {target.number}, model {target.package}")
    hosting = hosting_of(settings, aws.bucket.uri(CAPTURE_FOLDER), aws.stack.find_output("EndpointAlarmName"))
    hosting = aws.scaling.pause(hosting, sum(aws.sagemaker.instances(live).values()))
    try:
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
    # Where something was cut off, or what serves is no release, the newest release is the one to go back to.
    settled = found and found[-1].finished and found[-1].config == live.config
    serving = finished.pop() if settled else None
    for release in reversed(finished):
        if serving and release.mode != serving.mode:
            raise NoPreviousRelease(f"release {release.number} is {release.mode}, and an endpoint cannot change that")
        reason = _refuse(aws, release)
        if not reason:
            return release
        report.tell(f"release {release.number} is passed over: {reason}")
    first = f"release {serving.number} is the first that is kept and may serve" if serving else "no release is kept"
    raise NoPreviousRelease(first)


def _refuse(aws: Aws, release: Release) -> str:
    """Why the release may not serve, or nothing."""
    package = aws.registry.find(release.model_uri)
    if package is None or package.approval is not ApprovalStatus.APPROVED:
        return f"its model {release.package} is not approved any more"
    model = aws.sagemaker.model_behind(release.config)
    if not model:
        return "its configuration is gone"
    # The repository keeps the last ten; building today's would not bring back the one that this release runs.
    image = aws.sagemaker.image_of(model)
    return "" if image and aws.images.digest(image.rpartition(":")[2]) else "its container image is gone"
