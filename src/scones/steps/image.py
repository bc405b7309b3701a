"""Image: build this version's container image in the AWS account, unless it exists."""

import time
from dataclasses import dataclass

from scones.aws.client import poll
from scones.aws.connection import Aws
from scones.aws.ecr import Build
from scones.config.settings import Settings
from scones.deployment.template import ImageSource, create_base_stack, image_source, image_uri
from scones.domain.errors import DeploymentError
from scones.domain.progress import Reporter

# The project's limits for waiting in the queue and for building, and a margin.
_BUILD_SECONDS = 3900.0


class ImageBuildFailed(DeploymentError):
    """CodeBuild could not build the image."""

    def __init__(self, build: Build) -> None:
        why = build.reason or "no reason given"
        hint = "if pip found no PyTorch, set package_index to an index of its CPU builds"
        super().__init__(f"image build {build.id} is {build.status}: {why}; its log: {build.log}; {hint}")
        self.build = build.id


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The container image."""

    uri: str
    digest: str
    base: str
    """The base image that was used; empty if the image existed, which names it in a label."""
    built: bool
    seconds: float


def image(aws: Aws, settings: Settings, report: Reporter) -> ImageResult:
    """Build the image if none has these sources' tag; a running build is waited for.

    Raises:
        ImageNotBuilt: with CodeBuild's reason.
    """
    source, started = image_source(), time.monotonic()
    if digest := aws.images.digest(source.tag):
        return ImageResult(image_uri(aws), digest, "", built=False, seconds=0.0)
    create_base_stack(aws, settings, report.tell)
    build = _follow(aws, _begin(aws, source, settings.package_index, report), report)
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


def _follow(aws: Aws, build: Build, report: Reporter) -> Build:
    phase = ""
    try:
        for _ in poll(f"image build {build.id} ending", _BUILD_SECONDS):
            build = aws.images.build(build.id)
            if build.ended:
                return build
            if build.phase != phase:
                phase = build.phase
                report.tell(f"build {build.id}: {phase}")
    except BaseException:
        # Nothing waits for it any more, and it is billed by the minute.
        aws.images.stop(build)
        raise
    raise AssertionError("poll ends only by raising")
