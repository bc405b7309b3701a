"""ECR and CodeBuild: the environment's image repository, and the builds that push to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scones.aws.client import Client
from scones.domain.errors import CloudError

_AT_ONCE = 100
"""CodeBuild describes so many builds in one call."""


class BuildGone(CloudError):
    """A build of the container image does not exist any more."""

    def __init__(self, name: str) -> None:
        super().__init__(f"image build {name} does not exist any more; run the same command again")
        self.name = name


@dataclass(frozen=True, slots=True)
class Build:
    """The state of a build; *reason* is CodeBuild's if it failed, *tag* is the image tag that it builds."""

    id: str
    tag: str
    status: str
    phase: str
    reason: str
    base: str
    """The base image that it resolved, once it has."""
    log: str

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status != "IN_PROGRESS"


class Images:
    """The repository called *name*, and the project that builds its images."""

    def __init__(self, registry: Client, builder: Client, name: str) -> None:
        self._registry = registry
        self._builder = builder
        self._name = name
        self._project = f"{name}-image"

    def digest(self, tag: str) -> str | None:
        """The digest of the image tagged *tag*; None if there is no such image or repository."""
        found = self._registry.find("describe_images", repositoryName=self._name, imageIds=[{"imageTag": tag}])
        return str(found["imageDetails"][0]["imageDigest"]) if found else None

    def stored_bytes(self) -> int:
        """The compressed size of all images, as billed; 0 if there is no repository."""
        pages = self._registry.find_pages("describe_images", repositoryName=self._name)
        return sum(item.get("imageSizeInBytes", 0) for page in pages for item in page["imageDetails"])

    def start(self, source: str, variables: Mapping[str, str]) -> Build:
        """Build the zip at *source* (`bucket/key`) with these environment *variables*, which are not secret."""
        environment = [{"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()]
        reply = self._builder.call(
            "start_build",
            projectName=self._project,
            sourceTypeOverride="S3",
            sourceLocationOverride=source,
            environmentVariablesOverride=environment,
        )
        return _build(reply["build"])

    def build(self, name: str) -> Build:
        """Describe one build.

        Raises:
            BuildGone: there is no such build.
        """
        found = self._builder.call("batch_get_builds", ids=[name])["builds"]
        if not found:  # the reply lists it in buildsNotFound
            raise BuildGone(name)
        return _build(found[0])

    def running(self) -> Iterator[Build]:
        """Yield the builds that have not ended; none if there is no project."""
        for page in self._builder.find_pages("list_builds_for_project", projectName=self._project):
            for first in range(0, len(page["ids"]), _AT_ONCE):
                some = page["ids"][first : first + _AT_ONCE]
                builds = map(_build, self._builder.call("batch_get_builds", ids=some)["builds"])
                yield from (build for build in builds if not build.ended)

    def stop(self, build: Build) -> None:
        """Stop a build."""
        self._builder.call("stop_build", id=build.id)


def _build(found: Mapping[str, Any]) -> Build:
    variables = {each["name"]: each["value"] for each in found.get("environment", {}).get("environmentVariables", ())}
    exported = {each["name"]: each["value"] for each in found.get("exportedEnvironmentVariables", ())}
    log = found.get("logs", {})
    return Build(
        id=found["id"],
        tag=variables.get("TAG", ""),
        status=found["buildStatus"],
        phase=found.get("currentPhase", ""),
        reason=next(_reasons(found.get("phases", ())), ""),
        base=exported.get("BASE_DIGEST", ""),
        log=f"{log.get('groupName', '')} {log.get('streamName', '')}".strip(),
    )


def _reasons(phases: Any) -> Iterator[str]:
    for phase in phases:
        if phase.get("phaseStatus", "SUCCEEDED") != "SUCCEEDED":
            messages = [each["message"] for each in phase.get("contexts", ()) if each.get("message")]
            yield f"{phase['phaseType']}: {messages[0] if messages else 'no reason given'}"
