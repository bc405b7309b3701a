"""The resources, whether they are as they should be, and what they cost."""

from dataclasses import replace

import boto3
import pytest

from access_keys import BOTO_KEYS
from scones.aws.connection import Aws
from scones.cli.render import render
from scones.deployment.pricing import hourly_dollars, idle_hourly_dollars, template_resources
from scones.deployment.template import image_uri
from scones.pipeline import Pipeline
from scones.steps.status import leftovers, status
from scones_local.cloud import Cloud


def test_an_empty_environment_has_no_resources_and_no_cost(aws: Aws) -> None:
    """An empty account: no drift to look for, and not a cent."""
    found = status(aws)
    assert (found.stack, found.drift, found.hourly_dollars, found.leftovers, found.resources) == ("", None, 0, (), ())
    assert "stack none, endpoint none" in render(found)


def test_what_was_deployed_serves_at_its_price(flow: Pipeline) -> None:
    """The live configuration is the wanted one; the price is the instance's and the stack's; nothing is left over."""
    found = flow.status()
    assert found.endpoint_config == found.wanted_config != ""
    instance = hourly_dollars({flow.settings.endpoint_instance: flow.settings.endpoint_instances})
    assert instance
    idle = idle_hourly_dollars(template_resources(kms=False), flow.settings.monitor_minutes)
    assert found.hourly_dollars == pytest.approx(instance + idle)
    assert found.leftovers == ()
    assert "that of the last release" in render(found)


def test_many_things_of_a_kind_are_one_line(aws: Aws) -> None:
    """Sixty lines would hide what matters; the first names and the count are shown, and `--json` has every name."""
    standing = ("bucket b", *(f"alarm a{number}" for number in range(5)), "endpoint e")
    lines = render(replace(status(aws), resources=standing)).splitlines()
    assert lines[-3:] == ["resource: bucket: b", "resource: alarm x 5: a0, a1, a2 and 2 more", "resource: endpoint: e"]


def test_what_cannot_be_compared_here_is_said(flow: Pipeline) -> None:
    """The local cloud knows how to read some types only; the others are counted, not passed over."""
    drift = flow.status().drift
    assert drift
    assert 0 < drift.checked < drift.resources
    assert f"in {drift.checked} of {drift.resources} resources; " in str(drift)


def test_manual_changes_and_additions_are_named(own_flow: Pipeline, cloud: Cloud) -> None:
    """A topic is deleted, and another configuration is made and served: both show, and a model of no release."""
    where = {"endpoint_url": cloud.endpoint_url, "region_name": cloud.region, **BOTO_KEYS}
    aws = own_flow.aws
    boto3.client("sns", **where).delete_topic(TopicArn=aws.stack.find_output("AlertTopicArn"))
    sagemaker = boto3.client("sagemaker", **where)
    sagemaker.create_model(
        ModelName=f"{aws.prefix}stray",
        ExecutionRoleArn=aws.stack.find_output("HostingRoleArn"),
        PrimaryContainer={"Image": image_uri(aws), "ModelDataUrl": aws.bucket.uri("models/tiny/output/model.tar.gz")},
    )
    found = own_flow.status()
    assert found.drift
    assert [line for line in found.drift.changed if line.startswith("deleted AlertTopic")]
    assert found.leftovers == (f"model {aws.prefix}stray",)
    assert "LEFTOVER: model" in render(found)


def test_without_a_stack_all_is_left_over() -> None:
    """A bucket alone is a leftover; with a stack, only what no release names."""
    standing = ("bucket b", "endpoint-config c1", "endpoint-config c2", "model m1")
    assert leftovers(standing, (), has_stack=False) == standing
    assert leftovers(standing, {"endpoint-config c1", "model m1"}, has_stack=True) == ("endpoint-config c2",)
