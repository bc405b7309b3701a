"""Image: have the container image of this version built in the account, unless it is there already."""

import time
from dataclasses import dataclass

from scones.aws.client import poll
from scones.aws.connection import Aws
from scones.aws.ecr import Build
from scones.config.settings import Settings
from scones.deployment.image_source import ImageSource, image_source, image_uri
from scones.deployment.template import create_base_stack
from scones.domain.errors import SconesError
from scones.domain.progress import Reporter

# The project's own limits, for waiting in the queue and for building, and some time to spare.
_BUILD_SECONDS = 3900.0


class ImageBuildFailed(SconesError):
    """CodeBuild could not build the image."""

    def __init__(self, build: Build) -> None:
        why = build.reason or "no reason given"
        hint = "without an index of PyTorch's CPU builds (setting package_index) pip finds none"
        super().__init__(f"image build {build.id} is {build.status}: {why}; its log: {build.log}; {hint}")
        self.build = build.id


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Which image there is now; *digest* names its very bytes."""

    uri: str
    digest: str
    base: str
    """The base image that was built on; empty where the image was there before, for it says so in its label."""
    built: bool
    seconds: float


def image(aws: Aws, settings: Settings, report: Reporter) -> ImageResult:
    """Build the image; one that has the tag of these sources is not built again, a build under way is waited for.

    Raises:
        ImageNotBuilt: with CodeBuild's reason.
    """
    source, started = image_source(), time.monotonic()
    if digest := aws.images.digest(source.tag):
        return ImageResult(image_uri(aws), digest, "", built=False, seconds=0.0)
    create_base_stack(aws, settings, report.tell)
    build = _follow(aws, _begin(aws, source, settings.package_index, report), report)
    # Whoever pushed the tag first has pushed the same: it is the hash of the sources.
    digest = aws.images.digest(source.tag)
    if digest is None:
        raise ImageBuildFailed(build)
    seconds = time.monotonic() - started
    report.tell(f"image {source.tag} is {digest}, on {build.base}")
    return ImageResult(image_uri(aws), digest, build.base, built=True, seconds=seconds)


def _begin(aws: Aws, source: ImageSource, package_index: str, report: Reporter) -> Build:
    for build in aws.images.running():
        if build.tag == source.tag:
            report.tell(f"build {build.id} is under way")
            return build
    aws.bucket.put(source.key, source.body)
    variables = {"TAG": source.tag, "BASE": source.base}
    # CodeBuild has no use for a variable without a value.
    variables |= {"PACKAGE_INDEX": package_index} if package_index else {}
    report.tell(f"building image {source.tag}: on AWS some minutes and cents, once for each version of the code")
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
        # Nobody waits for it any more, and it costs money by the minute.
        aws.images.stop(build)
        raise
    raise AssertionError("poll ends only by raising")
