"""The image is built once for each version, and what runs names it exactly."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from access_keys import BOTO_KEYS
from scones.aws.connection import Aws
from scones.aws.ecr import Build, Images
from scones.config.settings import Settings
from scones.deployment.cleanup import inventory
from scones.deployment.template import image_source, image_uri
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.down import down
from scones.steps.image import ImageBuildFailed, image


def client(settings: Settings, service: str) -> Any:
    """A plain boto3 client of the local cloud."""
    return boto3.client(service, endpoint_url=settings.endpoint_url, region_name=settings.region, **BOTO_KEYS)


class UnderWay(Images):
    """A repository whose build takes its time: AWS's does, the local cloud's does not."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.build_seen = Build("p:1", image_source().tag, "IN_PROGRESS", "BUILD", "", "", "")
        self.breaks = breaks
        self.stopped: list[str] = []

    def digest(self, tag: str) -> str | None:
        """Give it once the build has ended."""
        return f"sha256:{tag}" if self.build_seen.ended else None

    def running(self) -> Iterator[Build]:
        """Return the build that was started."""
        yield self.build_seen

    def build(self, name: str) -> Build:
        """Show it under way, and ended when it is looked at again."""
        assert name == "p:1"
        if self.breaks:
            raise KeyboardInterrupt
        found = self.build_seen
        self.build_seen = replace(found, status="SUCCEEDED")
        return found

    def stop(self, build: Build) -> None:
        """Note it."""
        self.stopped.append(build.id)


def test_an_image_is_built_once(aws: Aws, settings: Settings) -> None:
    """The second time it is only looked up; its digest is what the registry says of the tag."""
    first = image(aws, settings, Silent())
    second = image(aws, replace(settings, package_index="https://index.example"), Silent())
    assert (first.built, second.built) == (True, False)
    assert first.digest == second.digest == aws.images.digest(image_source().tag)
    builds = client(settings, "codebuild").list_builds_for_project(projectName=f"{aws.name}-image")["ids"]
    assert len(builds) == 1


def test_the_build_is_told_the_sources_the_base_and_the_index(aws: Aws, settings: Settings) -> None:
    """What it cannot know by itself; the base that it resolved comes back."""
    made = image(aws, replace(settings, package_index="https://index.example"), Silent())
    builder = client(settings, "codebuild")
    names = builder.list_builds_for_project(projectName=f"{aws.name}-image")["ids"]
    build = builder.batch_get_builds(ids=names)["builds"][0]
    told = {each["name"]: each["value"] for each in build["environment"]["environmentVariables"]}
    source = image_source()
    assert told["REPOSITORY"] == made.uri.rpartition(":")[0]
    assert (told["TAG"], told["BASE"], told["PACKAGE_INDEX"]) == (source.tag, source.base, "https://index.example")
    assert build["source"]["location"] == f"{aws.bucket.name}/{source.key}"
    assert aws.bucket.get(source.key) == source.body
    assert made.base == source.base


def test_a_tag_means_one_image_for_ever(aws: Aws, settings: Settings) -> None:
    """The repository refuses another image under a tag that it has, and keeps the last ten."""
    image(aws, settings, Silent())
    registry = client(settings, "ecr")
    found = registry.describe_repositories(repositoryNames=[aws.name])["repositories"][0]
    assert (found["imageTagMutability"], found["imageScanningConfiguration"]) == ("IMMUTABLE", {"scanOnPush": True})
    with pytest.raises(registry.exceptions.ImageTagAlreadyExistsException):
        registry.put_image(repositoryName=aws.name, imageManifest="{}", imageTag=image_source().tag)


def test_what_runs_names_the_image_exactly(flow: Pipeline) -> None:
    """The scheduled monitor and the model behind the endpoint run the tag of these very sources."""
    assert image_uri(flow.aws).endswith(f"/{flow.aws.name}:{image_source().tag}")
    function = client(flow.settings, "lambda").get_function(FunctionName=f"{flow.aws.name}-monitor")
    assert function["Code"]["ImageUri"] == image_uri(flow.aws)
    endpoint = client(flow.settings, "sagemaker").describe_endpoint(EndpointName=flow.aws.name)
    assert endpoint["ProductionVariants"][0]["DeployedImages"][0]["SpecifiedImage"] == image_uri(flow.aws)


def test_a_build_that_fails_is_told_with_its_reason(aws: Aws, settings: Settings) -> None:
    """Which build, in which phase, why, and where its log is."""
    image(aws, settings, Silent())
    client(settings, "ecr").delete_repository(repositoryName=aws.name, force=True)
    with pytest.raises(ImageBuildFailed, match=rf"FAILED: BUILD: .*'{aws.name}' does not exist.*/aws/codebuild/"):
        image(aws, settings, Silent())


def test_a_source_that_is_not_there_fails_its_build(aws: Aws, settings: Settings) -> None:
    """CodeBuild finds out, not the caller."""
    image(aws, settings, Silent())
    build = aws.images.start(f"{aws.bucket.name}/image/none.zip", {"TAG": "none"})
    assert (build.status, build.reason.partition(":")[0]) == ("FAILED", "DOWNLOAD_SOURCE")
    assert list(aws.images.running()) == []


def test_a_build_under_way_is_waited_for(aws: Aws, settings: Settings) -> None:
    """A command that was killed left it running, or another user started it: no second one is started."""
    under_way = UnderWay()
    aws.stack.deploy({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}, {}, Silent().tell)
    found = image(replace(aws, images=under_way), settings, Silent())
    assert (found.digest, under_way.stopped) == (f"sha256:{image_source().tag}", [])


def test_whoever_stops_waiting_stops_the_build(aws: Aws, settings: Settings) -> None:
    """It costs money by the minute."""
    under_way = UnderWay(breaks=True)
    aws.stack.deploy({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}, {}, Silent().tell)
    with pytest.raises(KeyboardInterrupt):
        image(replace(aws, images=under_way), settings, Silent())
    assert under_way.stopped == ["p:1"]


def test_down_takes_the_images_with_it(aws: Aws, settings: Settings) -> None:
    """A repository with an image in it goes with its stack, and what built it."""
    image(aws, settings, Silent())
    made = {f"repository {aws.name}", f"build-project {aws.name}-image", f"log-group /aws/codebuild/{aws.name}-image"}
    assert made <= set(inventory(aws))
    receipt = down(aws, Silent())
    assert made <= set(receipt.deleted)
    assert (receipt.remaining, inventory(aws)) == ((), ())


def test_down_stops_a_build_under_way(aws: Aws) -> None:
    """First of all: it would push into what is being deleted."""
    under_way = UnderWay()
    down(replace(aws, images=under_way), Silent())
    assert under_way.stopped == ["p:1"]
