"""ECR and CodeBuild: a build ends at once, and pushes a manifest without layers in place of the image."""

import json
import time
import zipfile
from collections.abc import Mapping
from io import BytesIO

from ministack.services import codebuild, ecr

from scones_local.quotas import ServiceQuotas
from scones_local.storage import ObjectStore
from scones_local.wire import Json, Reply, ServiceError, error_reply, json_reply

SOURCE_FILES = ("Dockerfile", "buildspec.yml")
"""The files that a source must have at its root."""


class BuildService:
    """Starts builds that end at once; a build fails if its source is incomplete."""

    def __init__(self, store: ObjectStore, quotas: ServiceQuotas) -> None:
        self._store = store
        self._quotas = quotas
        self._start = codebuild._start_build

    def start(self, query: Json) -> Reply:
        """StartBuild: check the source as a real build would, and push a manifest without layers."""
        try:
            self._quotas.check_build()
        except ServiceError as error:
            return error_reply(error)
        status, headers, body = self._start(query)
        if status >= 300:
            return status, headers, body
        build = codebuild._builds[json.loads(body)["build"]["id"]]
        overrides = query.get("environmentVariablesOverride", ())
        known = build["environment"].get("environmentVariables", ())
        build["environment"] = {**build["environment"], "environmentVariables": [*known, *overrides]}
        variables = {each["name"]: each["value"] for each in (*known, *overrides)}
        location = query.get("sourceLocationOverride") or build["source"].get("location", "")
        build["source"] = {**build["source"], "type": query.get("sourceTypeOverride", "S3"), "location": location}
        build["artifacts"] = {}  # a build's have no type, a project's have
        failure = self._check_source(location) or _push(variables)
        if failure:
            _fail(build, *failure)
        else:
            base = {"name": "BASE_DIGEST", "value": variables.get("BASE", "")}
            build["exportedEnvironmentVariables"] = [base]
        return json_reply({"build": build})

    def _check_source(self, location: str) -> tuple[str, str] | None:
        """The phase in which the source fails and the reason; None if it does not fail."""
        body = self._store.get(f"s3://{location}")
        if body is None:
            return "DOWNLOAD_SOURCE", f"CLIENT_ERROR: NoSuchKey: {location}"
        try:
            with zipfile.ZipFile(BytesIO(body)) as archive:
                missing = [name for name in SOURCE_FILES if name not in archive.namelist()]
        except zipfile.BadZipFile as error:
            return "DOWNLOAD_SOURCE", f"CLIENT_ERROR: {error}"
        return ("BUILD", f"COMMAND_EXECUTION_ERROR: {missing[0]}: no such file") if missing else None


def install(quotas: ServiceQuotas) -> None:
    """Let builds push to the repository, and let ECR describe a missing image with AWS's error."""
    codebuild._start_build = BuildService(ObjectStore(), quotas).start
    stock = ecr._describe_images

    def described(query: Json) -> Reply:
        status, headers, body = stock(query)
        if status < 300 and query.get("imageIds") and not json.loads(body)["imageDetails"]:
            name = query["repositoryName"]
            text = f"The image with imageId {query['imageIds'][0]} does not exist within the repository '{name}'"
            return error_reply(ServiceError("ImageNotFoundException", text))
        return status, headers, body

    ecr._describe_images = described


def _push(variables: Mapping[str, str]) -> tuple[str, str] | None:
    repository = variables.get("REPOSITORY", "").rpartition("/")[2]
    manifest = json.dumps({"schemaVersion": 2, "tag": variables.get("TAG", "")})
    pushed = {"repositoryName": repository, "imageManifest": manifest, "imageTag": variables.get("TAG", "")}
    status, _, body = ecr._put_image(pushed)
    return ("BUILD", f"COMMAND_EXECUTION_ERROR: {json.loads(body)['message']}") if status >= 300 else None


def _fail(build: Json, phase: str, reason: str) -> None:
    build["buildStatus"] = "FAILED"
    names = [each["phaseType"] for each in build["phases"]]
    build["phases"] = build["phases"][: names.index(phase) + 1]
    build["phases"][-1] |= {"phaseStatus": "FAILED", "contexts": [{"statusCode": "ERROR", "message": reason}]}
    build["phases"].append({"phaseType": "COMPLETED", "startTime": int(time.time())})
