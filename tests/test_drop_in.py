"""Code that was written for SageMaker's built-in image classifier works against our endpoint, unmodified."""

import base64
import io
import json
import uuid
import zipfile
from typing import Any

import boto3
import pytest

from access_keys import BOTO_KEYS
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud
from tiny_model import plain_photo, probability

LEVEL = 200

# As such functions are written in courses and tutorials: only the endpoint's name is filled in.
FUNCTION = """
import json
import boto3
import base64

ENDPOINT = "{endpoint}"


def lambda_handler(event, context):
    image = base64.b64decode(event["image_data"])
    runtime = boto3.Session().client("{service}")
    response = runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="{content_type}", Body=image)
    inferences = json.loads(response["Body"].read().decode("utf-8"))
    event["inferences"] = inferences
    return {{"statusCode": 200, "body": event}}
"""


def client(cloud: Cloud, service: str) -> Any:
    """A plain boto3 client."""
    return boto3.client(service, endpoint_url=cloud.endpoint_url, region_name=cloud.region, **BOTO_KEYS)


@pytest.mark.parametrize("content_type", ["application/x-image", "image/png"])
def test_plain_boto3_gets_a_list_of_probabilities(flow: Pipeline, cloud: Cloud, content_type: str) -> None:
    """Nothing but the endpoint's name, a content type and the photo: the built-in algorithm's answer comes back."""
    runtime = client(cloud, "sagemaker-runtime")
    reply = runtime.invoke_endpoint(EndpointName=flow.aws.name, ContentType=content_type, Body=plain_photo(LEVEL))
    inferences = json.loads(reply["Body"].read().decode("utf-8"))
    assert reply["ContentType"] == "application/json"
    assert inferences == pytest.approx([1 - probability(LEVEL), probability(LEVEL)], abs=1e-5)


@pytest.mark.parametrize(
    ("service", "content_type"), [("sagemaker-runtime", "image/png"), ("runtime.sagemaker", "application/x-image")]
)
def test_a_function_written_for_the_built_in_classifier_works(
    flow: Pipeline, cloud: Cloud, service: str, content_type: str
) -> None:
    """A real Lambda function, which decodes its event's photo and asks the endpoint, returns the probabilities."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        source = FUNCTION.format(endpoint=flow.aws.name, service=service, content_type=content_type)
        archive.writestr("lambda_function.py", source)
    functions, name = client(cloud, "lambda"), f"built-in-{uuid.uuid4().hex[:8]}"
    functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role="arn:aws:iam::000000000000:role/test",
        Handler="lambda_function.lambda_handler",
        Timeout=20,
        Code={"ZipFile": packed.getvalue()},
    )
    event = {"image_data": base64.b64encode(plain_photo(LEVEL)).decode(), "s3_bucket": "b", "s3_key": "k"}
    reply = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    answer = json.loads(reply["Payload"].read())
    assert ("FunctionError" in reply, answer["statusCode"]) == (False, 200), answer
    assert answer["body"]["inferences"] == pytest.approx([1 - probability(LEVEL), probability(LEVEL)], abs=1e-5)
    functions.delete_function(FunctionName=name)
