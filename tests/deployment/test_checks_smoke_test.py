"""One photo the whole way."""

import json

import boto3
import pytest

from access_keys import BOTO_KEYS
from scones.aws.connection import Aws
from scones.deployment.checks import SmokeTestFailed, smoke_test
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud


def test_a_drawing_goes_through_the_whole_workflow(flow: Pipeline) -> None:
    """It is answered, and does not count as a photo that users sent."""
    smoked = flow.smoke()
    assert smoked
    assert smoked.answer.split()[0] in {*flow.settings.classes, "THRESHOLD_CONFIDENCE_NOT_MET", "UnfamiliarPhoto"}


def test_before_an_endpoint_serves_there_is_nothing_to_ask(aws: Aws) -> None:
    """That is said, and is no failure."""
    said: list[str] = []

    class Heard(Silent):
        def tell(self, line: str) -> None:
            said.append(line)

    assert smoke_test(aws, "arn:aws:states:us-east-1:000000000000:stateMachine:none", Heard()) is None
    assert "no endpoint is in service" in said[0]


def test_a_photo_without_an_answer_is_one_clear_line(flow: Pipeline, cloud: Cloud) -> None:
    """A workflow that fails for another reason than the photo: the error's own name, and what to do."""
    fails = {
        "StartAt": "Fails",
        "States": {"Fails": {"Type": "Fail", "Error": "EndpointUnavailable", "Cause": "no\nbody"}},
    }
    states = boto3.client("stepfunctions", endpoint_url=cloud.endpoint_url, region_name=cloud.region, **BOTO_KEYS)
    role = "arn:aws:iam::000000000000:role/smoke"
    made = {"name": "smoke-fails", "type": "EXPRESS", "roleArn": role, "definition": json.dumps(fails)}
    arn = states.create_state_machine(**made)["stateMachineArn"]
    try:
        with pytest.raises(SmokeTestFailed, match="EndpointUnavailable: no body; check the functions' logs"):
            smoke_test(flow.aws, arn, Silent())
    finally:
        states.delete_state_machine(stateMachineArn=arn)
