"""ECR and CodeBuild: the operations that the image's step uses answer as AWS's models say."""

import io
import zipfile

import pytest

from aws_calls import fresh
from contract.conftest import LIVE, Checked

pytestmark = pytest.mark.skipif(LIVE, reason="needs a role that CodeBuild may assume")


def source(*names: str) -> bytes:
    """A zip of empty files."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return body.getvalue()


def test_a_build_fills_the_repository(aws: Checked) -> None:
    """Build, look, list and describe; a tag is pushed once; what is not there has AWS's own error code."""
    registry, builder, s3, name = aws("ecr"), aws("codebuild"), aws("s3"), fresh("scones-contract")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="source.zip", Body=source("Dockerfile", "buildspec.yml"))
    uri = registry.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")["repository"]["repositoryUri"]
    assert registry.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryName"] == name
    builder.create_project(
        name=name,
        source={"type": "S3", "location": f"{name}/other.zip"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/amazonlinux-x86_64-standard:5.0",
            "computeType": "BUILD_GENERAL1_SMALL",
            "environmentVariables": [{"name": "REPOSITORY", "value": uri}],
        },
        serviceRole=aws.role,
    )
    wanted = {"projectName": name, "sourceTypeOverride": "S3", "sourceLocationOverride": f"{name}/source.zip"}
    tagged = {"environmentVariablesOverride": [{"name": "TAG", "value": "one", "type": "PLAINTEXT"}]}
    build = builder.start_build(**wanted, **tagged)["build"]["id"]
    assert builder.list_builds_for_project(projectName=name)["ids"] == [build]
    assert builder.batch_get_builds(ids=[build])["builds"][0]["buildStatus"] == "SUCCEEDED"
    found = registry.describe_images(repositoryName=name, imageIds=[{"imageTag": "one"}])["imageDetails"]
    assert found[0]["imageDigest"].startswith("sha256:")
    assert registry.describe_images(repositoryName=name)["imageDetails"][0]["imageSizeInBytes"] > 0
    again = builder.start_build(**wanted, **tagged)["build"]["id"]
    assert builder.batch_get_builds(ids=[again])["builds"][0]["buildStatus"] == "FAILED"
    builder.stop_build(id=again)
    with pytest.raises(registry.exceptions.ImageNotFoundException):
        registry.describe_images(repositoryName=name, imageIds=[{"imageTag": "two"}])
    for key in ("source.zip",):
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)
    builder.delete_project(name=name)
    registry.delete_repository(repositoryName=name, force=True)


def test_what_is_not_there(aws: Checked) -> None:
    """A repository and a project that never were are errors with AWS's own codes."""
    registry, builder, name = aws("ecr"), aws("codebuild"), fresh("scones-never")
    missing = registry.exceptions.RepositoryNotFoundException
    with pytest.raises(missing):
        registry.describe_repositories(repositoryNames=[name])
    with pytest.raises(missing):
        registry.describe_images(repositoryName=name, imageIds=[{"imageTag": "one"}])
    with pytest.raises(missing):
        registry.delete_repository(repositoryName=name, force=True)
    for call in (builder.start_build, builder.list_builds_for_project):
        with pytest.raises(builder.exceptions.ResourceNotFoundException):
            call(projectName=name)
