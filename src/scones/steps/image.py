"""Image: build this version's container image in the AWS account, unless it exists."""

import time
from dataclasses import dataclass

from scones.aws.client import continues, wait
from scones.aws.connection import Aws
from scones.aws.ecr import Build
from scones.config.settings import Settings
from scones.deployment.pricing import price_of
from scones.deployment.template import ImageSource, create_base_stack, image_source, image_uri
from scones.domain.errors import CloudError, DeploymentError
from scones.domain.progress import Reporter
from scones.domain.result import StepResult

# The project's limits for waiting in the queue and for building, and a margin.
_BUILD_SECONDS = 3900.0


class ImageBuildFailed(DeploymentError):
    """CodeBuild could not build the image."""

    def __init__(self, build: Build) -> None:
        why = build.reason or "no reason given"
        hint = "if pip did not find a package, set package_index to an index that has it"
        super().__init__(f"image build {build.id} is {build.status}: {why}; its log: {build.log}; {hint}")
        self.build = build.id


@dataclass(frozen=True, slots=True)
class ImageResult(StepResult):
    """The container image."""

    uri: str
    digest: str
    base: str
    """The base image that was used; empty if the image existed, which names it in a label."""
    built: bool
    seconds: float


def image(aws: Aws, settings: Settings, report: Reporter) -> ImageResult:
    """Build the image if none has these sources' tag; a running build is waited for.

    Ctrl-C stops the build, a lost connection does not.

    Raises:
        ImageBuildFailed: with CodeBuild's reason.
    """
    source, started = image_source(), time.monotonic()
    if digest := aws.images.digest(source.tag):
        return ImageResult(image_uri(aws), digest, "", built=False, seconds=0.0)
    create_base_stack(aws, settings, report.tell)
    build = _follow(aws, _begin(aws, source, settings.package_index, report), price_of("image", settings), report)
    # If another build pushed the tag first, the image is the same: the tag is the hash of the sources.
    digest = aws.images.digest(source.tag)
    if digest is None:
        raise ImageBuildFailed(build)
    seconds = time.monotonic() - started
    report.tell(f"image {source.tag} is {digest}, on {build.base}")
    return ImageResult(image_uri(aws), digest, build.base, built=True, seconds=seconds)


def _begin(aws: Aws, source: ImageSource, package_index: str, report: Reporter) -> Build:
    for build in aws.images.running():
        if build.tag == source.tag:
            report.tell(f"build {build.id} is running")
            return build
    aws.bucket.put(source.key, source.body)
    variables = {"TAG": source.tag, "BASE": source.base}
    # CodeBuild rejects variables without a value.
    variables |= {"PACKAGE_INDEX": package_index} if package_index else {}
    report.tell(f"building image {source.tag}: takes a few minutes and cents on AWS, once per version of the code")
    return aws.images.start(f"{aws.bucket.name}/{source.key}", variables)


def _follow(aws: Aws, build: Build, price: str, report: Reporter) -> Build:
    phase = ""

    def ended() -> Build | None:
        nonlocal phase
        found = aws.images.build(build.id)
        if found.phase != phase and not found.ended:
            phase = found.phase
            report.tell(f"build {build.id}: {phase}")
        return found if found.ended else None

    note = f"image build {build.id} continues in the account; {price} To wait for it again, run the same command"
    try:
        with continues(note):
            return wait(f"image build {build.id} ending", ended, _BUILD_SECONDS)
    except KeyboardInterrupt as error:
        error.__notes__ = [_stopped(aws, build) or note]
        raise


def _stopped(aws: Aws, build: Build) -> str:
    """Stop the build, which is billed by the minute; nothing if it could not be stopped."""
    try:
        aws.images.stop(build)
    except (CloudError, KeyboardInterrupt):
        return ""
    return f"image build {build.id} is stopped"
