"""The scheduled monitor runs as a Lambda function, from the image, by the same step as the command."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import boto3
import pytest

from access_keys import BOTO_KEYS
from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from tiny_model import noisy_pngs


def client(flow: Pipeline, service: str) -> Any:
    """A plain boto3 client of the flow's cloud."""
    return boto3.client(service, endpoint_url=flow.settings.endpoint_url, region_name=flow.settings.region, **BOTO_KEYS)


def invoke(flow: Pipeline) -> tuple[bool, dict[str, Any]]:
    """Call the function by hand: whether it failed, and what it returned."""
    reply = client(flow, "lambda").invoke(FunctionName=f"{flow.aws.name}-monitor", Payload=b"{}")
    return "FunctionError" in reply, json.loads(reply["Payload"].read())


def test_the_function_looks_as_the_command_does(own_flow: Pipeline) -> None:
    """What the endpoint saw is read and judged in the function's own process, and the command finds nothing left."""
    photos = enumerate(noisy_pngs(30, seed=8))
    own_flow.classify_samples([own_flow.upload(f"{number}.png", photo) for number, photo in photos])
    seen, deadline = 0, time.monotonic() + 60
    while seen < 30:
        assert time.monotonic() < deadline
        failed, found = invoke(own_flow)
        assert not failed, found
        assert (found["checked"], found["complete"], found["alarms"]) == (True, True, [])
        seen += found["photos"]
        time.sleep(0.25)
    assert seen == 30
    assert own_flow.monitor().photos == 0


def test_before_anything_is_deployed_the_function_has_nothing_to_do(aws: Aws, settings: Settings) -> None:
    """It says so, and does not fail: the schedule begins with the stack."""
    flow = Pipeline(aws, settings, Silent())
    flow.up()
    failed, found = invoke(flow)
    assert (failed, found["checked"]) == (False, False)
    assert "has no endpoint" in found["reason"]


@pytest.mark.slow
def test_the_schedule_calls_the_function(own_flow: Pipeline) -> None:
    """With a rate of a minute, the monitor runs by itself."""
    often = Pipeline(own_flow.aws, replace(own_flow.settings, monitor_minutes=1), Silent())
    often.up()
    deadline = time.monotonic() + 180
    while own_flow.aws.bucket.find("flow/monitor.json") is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_the_images_programs_need_no_local_cloud() -> None:
    """The image holds the package scones alone."""
    modules = "scones.cli.scheduled, scones.serving.__main__, scones.training.sagemaker_entrypoint"
    code = f"import sys; sys.modules['scones_local'] = None; import {modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
