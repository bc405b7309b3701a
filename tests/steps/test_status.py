"""The resources, whether they are as they should be, and what they cost."""

from dataclasses import replace

import boto3
import msgspec
import pytest

from access_keys import BOTO_KEYS
from scones.aws.connection import Aws
from scones.cli.render import render
from scones.deployment.pricing import hourly_dollars, idle_hourly_dollars, template_resources
from scones.deployment.retrainings import RetrainingOutcome, SkippedRetraining
from scones.deployment.template import image_uri
from scones.domain.naming import RETRAIN_SKIPPED_KEY
from scones.monitoring.alerts.notices import ActiveAlarm, AlarmEvent
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


def test_what_matters_comes_first(own_flow: Pipeline) -> None:
    """The release with its gate verdict, accuracy, drift, reviews and retraining come before the stack."""
    own_flow.aws.bucket.put(RETRAIN_SKIPPED_KEY, msgspec.json.encode(SkippedRetraining("noon", "alarm", "too soon")))
    found = own_flow.status()
    assert (found.release, found.model) == (1, own_flow.registered().number)
    lines = render(found).splitlines()
    assert lines[1].startswith(f"release 1, model {found.model}, approved: ")
    assert lines[2:5] == [
        "measured accuracy: no labels yet; to label photos, run: scones review export FILE",
        "data drift: not known yet; run: scones monitor",
        "no photos to review",
    ]
    assert lines[5] == "no retraining at noon (alarm): too soon"
    assert lines[6].startswith("stack UPDATE_COMPLETE" if "UPDATE" in lines[6] else "stack CREATE_COMPLETE")
    assert [line for line in lines if line.startswith("stack drift: ")]


def test_an_alarm_a_backlog_and_what_was_not_learned_are_shown_with_the_next_step(aws: Aws) -> None:
    """An alarm stays until it is acknowledged, and a refused retraining says why it did not deploy."""
    event = AlarmEvent("drift", "photos are darker", "")
    found = replace(
        status(aws),
        release=3,
        model=5,
        alarms=(ActiveAlarm(event, "2026-11-30T10:00:00Z", "s3://b/alert.html"),),
        reviews_open=2,
        couriers_waiting=1,
        review_oldest_minutes=90.0,
        unlearned_labels=1,
        retraining=RetrainingOutcome.REFUSED,
        retraining_when="2026-11-30T11:00:00Z",
        retraining_why="worse",
    )
    shown = render(found)
    assert "ALARM since 2026-11-30T10:00:00Z: " in shown
    assert "to see the alert, run: scones open --alert; once its cause is dealt with: scones monitor --ack" in shown
    assert "data drift" not in shown
    assert "2 photos to review, 1 courier waiting; the oldest is 90 minutes old; run: scones review list" in shown
    assert "1 label that the model has not learned; run: scones retrain" in shown
    assert "last retraining: 2026-11-30T11:00:00Z: refused: worse" in shown


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
