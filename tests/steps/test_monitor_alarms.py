"""What the monitor does beside its verdict: alarms that fire once, probes, documents, metrics, and two at once."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from access_keys import BOTO_KEYS
from conftest import stage_test_photos
from scones.aws.client import AwsError
from scones.aws.s3 import Bucket, S3Object
from scones.data.decode import darken_and_blur
from scones.deployment.pricing import MONITOR_METRICS
from scones.domain.progress import Silent
from scones.environment import load_result, save_result
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.inspect import MonitorResult
from scones.monitoring.model_monitor import NAMESPACE, dimensions
from scones.monitoring.monitor_state import UnreadableMonitorState
from scones.pipeline import Pipeline
from scones.steps.deploy import DeployResult
from scones.steps.monitor import ConcurrentRunError, MonitorTarget, monitor
from scones.steps.train import TrainingResult
from scones.steps.up import StackOutputs
from tiny_model import noisy_pngs, tar, write_tiny_model_file

PHOTOS = 40


def client(flow: Pipeline, service: str) -> Any:
    """A plain boto3 client of the flow's cloud."""
    return boto3.client(service, endpoint_url=flow.settings.endpoint_url, region_name=flow.settings.region, **BOTO_KEYS)


class Inbox:
    """A queue that hears of the alert topic."""

    def __init__(self, flow: Pipeline) -> None:
        self._sqs = client(flow, "sqs")
        self._queue = self._sqs.create_queue(QueueName=f"inbox-{datetime.now(UTC):%H%M%S%f}")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        topic = load_result(flow.aws, "up", StackOutputs).alert_topic_arn
        client(flow, "sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])

    def subjects(self) -> list[str]:
        """What has come since the last call from the monitor itself, not from CloudWatch's alarms."""
        found = []
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(str(json.loads(message["Body"])["Subject"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [subject for subject in found if subject.startswith("Scones")]


def send(flow: Pipeline, photos: list[bytes]) -> MonitorResult:
    """Classify *photos*, and monitor them."""
    flow.classify_samples([flow.upload(f"{number}.png", photo) for number, photo in enumerate(photos)])
    return flow.monitor(at_least=len(photos))


def sums(flow: Pipeline, metric: str) -> float:
    """The sum of one metric of the endpoint over the last day."""
    now = datetime.now(UTC)
    points = client(flow, "cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions(flow.aws.name).items()],
        StartTime=now - timedelta(days=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(sum(point["Sum"] for point in points))


def test_an_alarm_fires_once_until_it_is_acknowledged(quiet: Pipeline) -> None:
    """A second dark batch sends no second notice; after it is acknowledged, the same change fires again."""
    inbox = Inbox(quiet)
    dark = [darken_and_blur(photo) for photo in noisy_pngs(PHOTOS, seed=21)]
    first = send(quiet, dark)
    assert [alarm.kind for alarm in first.alarms] == ["drift"]
    assert len(inbox.subjects()) == 1
    second = send(quiet, dark)
    assert (second.verdict.alarm, second.alarms, second.report_uri) == (True, first.alarms, first.report_uri)
    assert inbox.subjects() == []
    calm = quiet.monitor(acknowledge=True)
    assert (calm.acknowledged, calm.alarms) == (1, ())
    assert send(quiet, dark).alarms[0].since >= first.alarms[0].since
    assert len(inbox.subjects()) == 1


def test_documents_and_metrics_are_where_aws_users_look(quiet: Pipeline) -> None:
    """Model Monitor's three documents in the bucket, its metrics in CloudWatch; and the silence alarm may now speak."""
    bucket, before = quiet.aws.bucket, sums(quiet, "images_seen")
    known = {item.key for item in bucket.list("monitor/results/")}
    quiet.monitor()
    standing = [item.modified for item in bucket.list("monitor/baseline/statistics.json")]
    send(quiet, noisy_pngs(25, seed=22))
    if standing:
        assert [item.modified for item in bucket.list("monitor/baseline/statistics.json")] == standing
    fresh = sorted(item.key for item in bucket.list("monitor/results/") if item.key not in known)
    assert [key.rsplit("/", 1)[1] for key in fresh[:2]] == ["constraint_violations.json", "statistics.json"]
    assert bucket.find_json("monitor/baseline/constraints.json")["features"]
    assert sums(quiet, "images_seen") == before + 25
    listed = (
        client(quiet, "cloudwatch")
        .get_paginator("list_metrics")
        .paginate(Dimensions=[{"Name": "Endpoint", "Value": quiet.aws.name}])
    )
    names = {metric["MetricName"] for page in listed for metric in page["Metrics"]}
    others = {name for name in names if not name.startswith("feature_")}
    # The five of the labels and the estimated accuracy are published once there are any.
    assert len(FEATURES) + len(others) + 6 == MONITOR_METRICS, "what the price table counts"
    alarm = client(quiet, "cloudwatch").describe_alarms(AlarmNames=[f"{quiet.aws.name}-silence"])["MetricAlarms"][0]
    assert alarm["ActionsEnabled"]


class Interrupted:
    """A bucket in which something else happens before it is first listed."""

    def __init__(self, bucket: Bucket, meanwhile: Callable[[], None]) -> None:
        self._bucket, self._todo = bucket, [meanwhile]

    def __getattr__(self, name: str) -> Any:
        """All that the bucket can do."""
        return getattr(self._bucket, name)

    def list(self, *words: Any) -> Iterator[S3Object]:
        """List it, after what happens first."""
        while self._todo:
            self._todo.pop()()
        return self._bucket.list(*words)


def test_of_two_concurrent_runs_one_counts(quiet: Pipeline) -> None:
    """The run that ends later says so and keeps nothing; its photo is read by the next one, once."""
    one, two = (quiet.upload(f"{name}.png", photo) for name, photo in zip("ab", noisy_pngs(2, seed=23), strict=True))
    quiet.classify_samples([one])

    def another_run() -> None:
        assert quiet.monitor(at_least=1).photos == 1
        quiet.classify_samples([two])

    bucket: Any = Interrupted(quiet.aws.bucket, another_run)
    with pytest.raises(ConcurrentRunError):
        replace(quiet, aws=replace(quiet.aws, bucket=bucket)).monitor(at_least=2)
    assert quiet.monitor().photos == 1


def test_a_notice_that_could_not_be_sent_is_sent_by_the_next_run(quiet: Pipeline) -> None:
    """The alarm was saved before its notice was sent."""
    deployed = load_result(quiet.aws, "deploy", DeployResult)
    photos = [darken_and_blur(photo) for photo in noisy_pngs(PHOTOS, seed=24)]
    quiet.classify_samples([quiet.upload(f"{number}.png", photo) for number, photo in enumerate(photos)])
    watched = MonitorTarget(
        endpoint=deployed.endpoint,
        config=deployed.config,
        model_uri=deployed.model_uri,
        capture_prefix=deployed.capture_prefix,
        alert_topic="arn:aws:sns:us-east-1:000000000000:never-was",
        at_least=PHOTOS,
    )
    with pytest.raises(AwsError, match="NotFound"):
        monitor(quiet.aws, quiet.settings, watched, Silent())
    inbox = Inbox(quiet)
    assert quiet.monitor().photos == 0
    assert len(inbox.subjects()) == 1


def test_a_damaged_state_is_named(quiet: Pipeline) -> None:
    """It says which object, and what deleting it would mean."""
    bucket = quiet.aws.bucket
    kept = bucket.get("monitor/state.json")
    bucket.put("monitor/state.json", b'{"cursor": 7}')
    with pytest.raises(UnreadableMonitorState, match=r"monitor/state\.json"):
        quiet.monitor()
    bucket.put("monitor/state.json", kept)


def test_known_photos_and_the_release_are_checked_in_every_run(own_flow: Pipeline) -> None:
    """While all is well probes are right; with another model behind the endpoint two alarms fire in one run."""
    stage_test_photos(own_flow)
    well = own_flow.monitor()
    assert (len(well.probes), all(probe.right for probe in well.probes), well.alarms) == (4, True, ())
    released = load_result(own_flow.aws, "deploy", DeployResult)
    own_flow.settings.state.mkdir(parents=True)
    write_tiny_model_file(own_flow.settings.state / "other", breaks=True)
    uri = own_flow.aws.bucket.put("models/other/output/model.tar.gz", tar(own_flow.settings.state / "other"))
    save_result(own_flow.aws, "train", replace(load_result(own_flow.aws, "train", TrainingResult), model_uri=uri))
    own_flow.approve()
    own_flow.deploy()
    save_result(own_flow.aws, "deploy", released)
    wrong = own_flow.monitor()
    assert [alarm.kind for alarm in wrong.alarms] == ["probe", "release"]
    assert {probe.prediction for probe in wrong.probes} == {""}
    assert wrong.photos == 0
