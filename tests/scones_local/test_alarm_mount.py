"""Alarms in the local cloud: real data in, a notice out, and a clock in between."""

import json
import time
import uuid
from typing import Any

import pytest

from waiting import eventually

PERIOD = 10


class Watched:
    """A high-resolution alarm on one metric, and the queue that hears of it."""

    def __init__(self, clients: Any, **changes: Any) -> None:
        self.cloudwatch, self.sqs = clients.cloudwatch, clients.sqs
        self.name = f"alarm-{uuid.uuid4().hex[:8]}"
        topic = clients.sns.create_topic(Name=self.name)["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]
        clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
        request = {
            "AlarmName": self.name,
            "Namespace": "Scones/Test",
            "MetricName": self.name,
            "Dimensions": [{"Name": "Endpoint", "Value": "mine"}],
            "Statistic": "Sum",
            "Period": PERIOD,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "Threshold": 3,
            "TreatMissingData": "notBreaching",
            "AlarmActions": [topic],
            "OKActions": [topic],
        }
        self.cloudwatch.put_metric_alarm(**{**request, **changes})

    def put(self, value: float, endpoint: str = "mine", seconds_ago: float = 0) -> None:
        """Publish one value."""
        dimensions = [{"Name": "Endpoint", "Value": endpoint}]
        datum = {"MetricName": self.name, "Dimensions": dimensions, "Value": value}
        moment = time.time() - seconds_ago
        self.cloudwatch.put_metric_data(Namespace="Scones/Test", MetricData=[{**datum, "Timestamp": moment}])

    @property
    def state(self) -> str:
        """What DescribeAlarms says."""
        return str(self.cloudwatch.describe_alarms(AlarmNames=[self.name])["MetricAlarms"][0]["StateValue"])

    def becomes(self, state: str, seconds: float = 60) -> bool:
        """Whether it gets there in time."""
        return eventually(lambda: self.state == state, seconds)

    def notice(self) -> dict[str, Any]:
        """The next notice."""
        (message,) = self.sqs.receive_message(QueueUrl=self.queue, WaitTimeSeconds=20)["Messages"]
        self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        found: dict[str, Any] = json.loads(json.loads(message["Body"])["Message"])
        return found


def test_an_alarm_fires_and_tells_its_topic(clients: Any) -> None:
    """Three errors within ten seconds: ALARM, and a notice that says so."""
    watched = Watched(clients)
    assert watched.becomes("OK")
    assert watched.notice()["NewStateValue"] == "OK"
    for _ in range(3):
        watched.put(1)
    assert watched.becomes("ALARM")
    notice = watched.notice()
    assert (notice["AlarmName"], notice["OldStateValue"], notice["NewStateValue"]) == (watched.name, "OK", "ALARM")


def test_other_dimensions_do_not_count(clients: Any) -> None:
    """Errors of another endpoint leave the alarm as it is."""
    watched = Watched(clients)
    assert watched.becomes("OK")
    watched.put(100, endpoint="another")
    assert not watched.becomes("ALARM", 1.5)


@pytest.mark.slow
def test_an_alarm_ends_by_the_clock_alone(clients: Any) -> None:
    """Once the errors are older than what it looks back at, an alarm returns to OK with no new data."""
    watched = Watched(clients)
    assert watched.notice()["NewStateValue"] == "OK"
    watched.put(5, seconds_ago=2 * PERIOD + 5)
    assert [watched.notice()["NewStateValue"] for _ in range(2)] == ["ALARM", "OK"]


@pytest.mark.slow
def test_two_of_three_are_needed_where_two_are_asked_for(clients: Any) -> None:
    """One breaching datapoint of three is no alarm; a second one is."""
    watched = Watched(clients, EvaluationPeriods=3, DatapointsToAlarm=2, Statistic="Maximum")
    watched.put(9, seconds_ago=PERIOD + 5)
    assert not watched.becomes("ALARM", 2)
    watched.put(9, seconds_ago=5)
    assert watched.becomes("ALARM")


@pytest.mark.parametrize(("treatment", "state"), [("missing", "INSUFFICIENT_DATA"), ("breaching", "ALARM")])
def test_a_metric_that_never_came(clients: Any, treatment: str, state: str) -> None:
    """Silence is unknown, or an alarm, as the alarm's owner chose."""
    watched = Watched(clients, TreatMissingData=treatment)
    assert watched.becomes(state)
