"""Serverless variants: what SageMaker refuses of them, and the limits under which they answer.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
"""

from scones_local.sagemaker.fleet import Fleet
from scones_local.sagemaker.records import invalid
from scones_local.wire import AwsError, Json

MEMORIES_MB = tuple(range(1024, 6145, 1024))
MOST_AT_ONCE = 200
LARGEST_BODY_BYTES = 4_194_304


def check_serverless(variant: Json, *, captures: bool) -> None:
    """Raises AwsError for a variant that SageMaker would not take."""
    config = variant["ServerlessConfig"]
    if config["MemorySizeInMB"] not in MEMORIES_MB:
        raise invalid(f"MemorySizeInMB {config['MemorySizeInMB']} is not one of {MEMORIES_MB}")
    if not 1 <= config["MaxConcurrency"] <= MOST_AT_ONCE:
        raise invalid(f"MaxConcurrency {config['MaxConcurrency']} is not between 1 and {MOST_AT_ONCE}")
    if captures:
        raise invalid("DataCaptureConfig is not supported with a serverless variant.")
    if {"InstanceType", "InitialInstanceCount"} & variant.keys():
        raise invalid("A variant has either a ServerlessConfig or instances, not both.")


def check_request(fleet: Fleet, body: bytes) -> None:
    """Raises AwsError where a serverless variant takes no more at once, or not so much."""
    config = fleet.variant.get("ServerlessConfig")
    if config is None:
        return
    if len(body) > LARGEST_BODY_BYTES:
        raise AwsError("413", f"HTTP content length exceeded {LARGEST_BODY_BYTES} bytes.", status=413)
    if fleet.busy >= config["MaxConcurrency"]:
        raise AwsError("ThrottlingException", "Rate exceeded", status=429)
