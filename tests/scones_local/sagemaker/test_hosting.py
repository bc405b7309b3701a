"""Endpoints: real servers behind them, updates without a gap, crashes mended, traffic captured."""

import base64
import io
import json
import re
import tarfile
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import IMAGE, ROLE, Endpoint, a_config, a_variant, fresh, settled, trained


def test_an_endpoint_answers(endpoint: Endpoint) -> None:
    """The reply carries the server's body, content type, echoed attributes and the variant's name."""
    reply = endpoint.runtime.invoke_endpoint(
        EndpointName=endpoint.name,
        Body=b"12345",
        ContentType="image/png",
        Accept="application/json",
        CustomAttributes="a=1",
    )
    assert json.loads(reply["Body"].read()) == [0.75, 5]
    assert (reply["ContentType"], reply["InvokedProductionVariant"]) == ("application/json", "AllTraffic")
    assert reply["CustomAttributes"] == "a=1"


@pytest.mark.parametrize(("body", "status"), [(b"break", 400), (b"fault", 500)])
def test_a_refusal_of_the_models_is_a_model_error(endpoint: Endpoint, body: bytes, status: int) -> None:
    """ModelError, HTTP 424, carries the server's own status and message."""
    with pytest.raises(endpoint.runtime.exceptions.ModelError) as caught:
        endpoint.ask(body)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert caught.value.response["OriginalStatusCode"] == status
    assert caught.value.response["OriginalMessage"]


def test_an_endpoint_that_is_not_there_is_a_validation_error(clients: Any) -> None:
    """Invoking it, and describing it, say which name was not found."""
    with pytest.raises(clients.sagemaker_runtime.exceptions.ValidationError, match="never-was"):
        clients.sagemaker_runtime.invoke_endpoint(EndpointName="never-was", Body=b"")
    with pytest.raises(ClientError, match=r'Could not find endpoint ".*:endpoint/never-was"'):
        clients.sagemaker.describe_endpoint(EndpointName="never-was")


def test_traffic_is_captured_as_sagemaker_does(endpoint: Endpoint) -> None:
    """Soon each call is a JSON line below endpoint/variant/yyyy/mm/dd/hh, with its inference id."""
    for number in range(3):
        endpoint.ask(f"photo {number}".encode(), InferenceId=f"id-{number}")
    deadline = time.monotonic() + 60
    records: list[Any] = []
    while len(records) < 3 and time.monotonic() < deadline:
        listing = endpoint.s3.list_objects_v2(Bucket=endpoint.bucket, Prefix="capture/").get("Contents", [])
        bodies = [endpoint.s3.get_object(Bucket=endpoint.bucket, Key=item["Key"])["Body"].read() for item in listing]
        records = [json.loads(line) for body in bodies for line in body.splitlines()]
        time.sleep(0.05)
    where = rf"capture/{endpoint.name}/AllTraffic/\d{{4}}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{{3}}-[0-9a-f-]{{36}}\.jsonl"
    assert all(re.fullmatch(where, item["Key"]) for item in listing)
    assert [r["eventMetadata"]["inferenceId"] for r in records] == ["id-0", "id-1", "id-2"]
    data = records[0]["captureData"]
    assert base64.b64decode(data["endpointInput"].pop("data")) == b"photo 0"
    assert data["endpointInput"] == {"observedContentType": "image/png", "mode": "INPUT", "encoding": "BASE64"}
    assert data["endpointOutput"] == {
        "observedContentType": "application/json",
        "mode": "OUTPUT",
        "data": "[0.75, 7]",
        "encoding": "JSON",
    }


def test_an_update_leaves_no_gap(endpoint: Endpoint) -> None:
    """While the new server starts the old one answers; then the new one does, and tags of the endpoint stay."""
    config = a_config(endpoint.sagemaker, endpoint.bucket, trained(endpoint.sagemaker, endpoint.bucket, answer="0.1"))
    endpoint.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=config)
    answers = [endpoint.ask()[0]]
    while endpoint.sagemaker.describe_endpoint(EndpointName=endpoint.name)["EndpointStatus"] == "Updating":
        answers.append(endpoint.ask()[0])
    answers.append(endpoint.ask()[0])
    assert answers[0] == 0.75
    assert answers[-1] == 0.1
    assert answers == sorted(answers, reverse=True)
    assert settled(endpoint.sagemaker, endpoint.name)["EndpointConfigName"] == config


def test_a_failed_update_keeps_the_old_server(endpoint: Endpoint) -> None:
    """When the new server does not start, the endpoint is InService with its old configuration."""
    config = a_config(endpoint.sagemaker, endpoint.bucket, endpoint.archive, REFUSE="1")
    endpoint.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=config)
    found = settled(endpoint.sagemaker, endpoint.name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", endpoint.config)
    assert endpoint.ask()[0] == 0.75


def test_a_server_that_does_not_start_fails_the_endpoint(endpoint: Endpoint) -> None:
    """FailureReason ends with the last line that the server wrote."""
    config = a_config(endpoint.sagemaker, endpoint.bucket, endpoint.archive, REFUSE="1")
    name = fresh("endpoint")
    endpoint.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    found = settled(endpoint.sagemaker, name)
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"].endswith("no such model format")
    endpoint.sagemaker.delete_endpoint(EndpointName=name)


def test_an_endpoint_in_progress_is_not_deleted(endpoint: Endpoint) -> None:
    """SageMaker refuses that while it creates or updates one; afterwards the endpoint goes, with its scaling."""
    client, name = endpoint.sagemaker, fresh("endpoint")
    client.create_endpoint(EndpointName=name, EndpointConfigName=endpoint.config)
    with pytest.raises(ClientError, match=r"ValidationException.*Cannot update in-progress endpoint"):
        client.delete_endpoint(EndpointName=name)
    settled(client, name)
    other = a_config(client, endpoint.bucket, endpoint.archive)
    client.update_endpoint(EndpointName=name, EndpointConfigName=other)
    with pytest.raises(ClientError, match=r"ValidationException.*Cannot update in-progress endpoint"):
        client.delete_endpoint(EndpointName=name)
    settled(client, name)
    scaling = endpoint.clients.application_autoscaling
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    client.delete_endpoint(EndpointName=name)
    left = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])
    assert left["ScalableTargets"] == []


def test_an_archive_that_climbs_out_is_refused(endpoint: Endpoint) -> None:
    """A model archive with a member outside its folder fails the endpoint, and nothing is written."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("../../escaped.txt")
        archive.addfile(member, io.BytesIO(b""))
    endpoint.s3.put_object(Bucket=endpoint.bucket, Key="evil.tar.gz", Body=packed.getvalue())
    config = a_config(endpoint.sagemaker, endpoint.bucket, f"s3://{endpoint.bucket}/evil.tar.gz")
    name = fresh("endpoint")
    endpoint.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    found = settled(endpoint.sagemaker, name)
    assert found["EndpointStatus"] == "Failed"
    assert "cannot be unpacked" in found["FailureReason"]
    endpoint.sagemaker.delete_endpoint(EndpointName=name)


def test_a_crashed_server_comes_back(endpoint: Endpoint) -> None:
    """A server that dies in a request is restarted, and answers again within a few seconds."""
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        endpoint.ask(b"crash")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert endpoint.ask()[0] == 0.75
            break
        except ClientError:
            time.sleep(0.1)
    assert endpoint.ask()[0] == 0.75


def test_a_body_beyond_the_limit_is_refused(endpoint: Endpoint) -> None:
    """More than 6 MiB never reaches the server."""
    with pytest.raises(ClientError, match="content length exceeded"):
        endpoint.ask(bytes(6_291_457))


def test_what_the_local_cloud_cannot_serve_is_refused(endpoint: Endpoint) -> None:
    """Several variants, too many instances, and models that lack an archive or do not exist."""
    sagemaker, model = endpoint.sagemaker, endpoint.config
    two = [a_variant(model), {**a_variant(model), "VariantName": "Other"}]
    with pytest.raises(ClientError, match="exactly one production variant"):
        sagemaker.create_endpoint_config(EndpointConfigName=fresh("c"), ProductionVariants=two)
    many = {**a_variant(model), "InitialInstanceCount": 9}
    with pytest.raises(ClientError, match="1 to 8 instances"):
        sagemaker.create_endpoint_config(EndpointConfigName=fresh("c"), ProductionVariants=[many])
    with pytest.raises(ClientError, match=r'Could not find model ".*:model/gone"'):
        sagemaker.create_endpoint_config(EndpointConfigName=fresh("c"), ProductionVariants=[a_variant("gone")])
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{endpoint.bucket}/gone.tar.gz"}
    with pytest.raises(ClientError, match="Could not find model data"):
        sagemaker.create_model(ModelName=fresh("m"), ExecutionRoleArn=ROLE, PrimaryContainer=container)


def test_tags_are_kept(endpoint: Endpoint) -> None:
    """Tags can be added, listed and deleted."""
    sagemaker = endpoint.sagemaker
    sagemaker.add_tags(ResourceArn=endpoint.arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    sagemaker.delete_tags(ResourceArn=endpoint.arn, TagKeys=["a"])
    assert sagemaker.list_tags(ResourceArn=endpoint.arn)["Tags"] == [{"Key": "b", "Value": "2"}]
