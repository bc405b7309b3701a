"""ECR and CodeBuild, mounted: a build puts a stand-in for the image, which here is this package, in the repository."""

import json
import time
import zipfile
from collections.abc import Mapping
from io import BytesIO

from ministack.services import codebuild, ecr

from scones_local.storage import ObjectStore
from scones_local.wire import AwsError, Json, Reply, error_reply, json_reply

WANTED = ("Dockerfile", "buildspec.yml")
"""What a source must have at its root."""


class Builds:
    """Ends every build at once, as its source deserves."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._start = codebuild._start_build

    def start(self, query: Json) -> Reply:
        """StartBuild: what a real build would find out about its source, and a manifest in place of layers."""
        status, headers, body = self._start(query)
        if status >= 300:
            return status, headers, body
        build = codebuild._builds[json.loads(body)["build"]["id"]]
        given = query.get("environmentVariablesOverride", ())
        known = build["environment"].get("environmentVariables", ())
        build["environment"] = {**build["environment"], "environmentVariables": [*known, *given]}
        variables = {each["name"]: each["value"] for each in (*known, *given)}
        location = query.get("sourceLocationOverride") or build["source"].get("location", "")
        build["source"] = {**build["source"], "type": query.get("sourceTypeOverride", "S3"), "location": location}
        build["artifacts"] = {}  # a build's have no type, a project's have
        failed = self._fault(location) or _push(variables)
        if failed:
            _fail(build, *failed)
        else:
            base = {"name": "BASE_DIGEST", "value": variables.get("BASE", "")}
            build["exportedEnvironmentVariables"] = [base]
        return json_reply({"build": build})

    def _fault(self, location: str) -> tuple[str, str] | None:
        """The phase in which the source fails, and why."""
        body = self._store.get(f"s3://{location}")
        if body is None:
            return "DOWNLOAD_SOURCE", f"CLIENT_ERROR: NoSuchKey: {location}"
        try:
            with zipfile.ZipFile(BytesIO(body)) as archive:
                missing = [name for name in WANTED if name not in archive.namelist()]
        except zipfile.BadZipFile as error:
            return "DOWNLOAD_SOURCE", f"CLIENT_ERROR: {error}"
        return ("BUILD", f"COMMAND_EXECUTION_ERROR: {missing[0]}: no such file") if missing else None


def mount(store: ObjectStore) -> None:
    """Let builds fill the repository, and let ECR say of an image that is not there what AWS says."""
    codebuild._start_build = Builds(store).start
    stock = ecr._describe_images

    def described(query: Json) -> Reply:
        status, headers, body = stock(query)
        if status < 300 and query.get("imageIds") and not json.loads(body)["imageDetails"]:
            name = query["repositoryName"]
            told = f"The image with imageId {query['imageIds'][0]} does not exist within the repository '{name}'"
            return error_reply(AwsError("ImageNotFoundException", told))
        return status, headers, body

    ecr._describe_images = described


def _push(variables: Mapping[str, str]) -> tuple[str, str] | None:
    repository = variables.get("REPOSITORY", "").rpartition("/")[2]
    manifest = json.dumps({"schemaVersion": 2, "scones": variables.get("TAG", "")})
    pushed = {"repositoryName": repository, "imageManifest": manifest, "imageTag": variables.get("TAG", "")}
    status, _, body = ecr._put_image(pushed)
    return ("BUILD", f"COMMAND_EXECUTION_ERROR: {json.loads(body)['message']}") if status >= 300 else None


def _fail(build: Json, phase: str, reason: str) -> None:
    build["buildStatus"] = "FAILED"
    names = [each["phaseType"] for each in build["phases"]]
    build["phases"] = build["phases"][: names.index(phase) + 1]
    build["phases"][-1] |= {"phaseStatus": "FAILED", "contexts": [{"statusCode": "ERROR", "message": reason}]}
    build["phases"].append({"phaseType": "COMPLETED", "startTime": int(time.time())})
