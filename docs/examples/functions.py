"""The three functions of the project, as the course asks for them."""

import base64
import json
import os

import boto3

THRESHOLD = 0.7


def serialize(event, context):
    """Fetch the photo from S3, and hand it on in base64."""
    boto3.client("s3").download_file(event["s3_bucket"], event["s3_key"], "/tmp/image.png")
    with open("/tmp/image.png", "rb") as file:
        image_data = base64.b64encode(file.read()).decode()
    return {"statusCode": 200, "body": {**event, "image_data": image_data, "inferences": []}}


def classify(event, context):
    """Ask the endpoint."""
    reply = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=os.environ["ENDPOINT"],
        ContentType="image/png",
        Body=base64.b64decode(event["image_data"]),
    )
    event["inferences"] = json.loads(reply["Body"].read())
    del event["image_data"]
    return {"statusCode": 200, "body": event}


class THRESHOLD_CONFIDENCE_NOT_MET(Exception):
    """No class has a probability that reaches the threshold."""


def keep_confident(event, context):
    """Fail the execution if no class reaches the threshold."""
    if max(event["inferences"]) < THRESHOLD:
        raise THRESHOLD_CONFIDENCE_NOT_MET(f"{max(event['inferences']):.3f} is below {THRESHOLD}")
    return {"statusCode": 200, "body": event}
