"""The stack's alarms for the monitor: as in the template, but for a shorter period, and metrics as they come."""

import json
import time
import uuid
from datetime import datetime
from typing import Any

import pytest

from aws_calls import ROLE, machine
from scones.deployment.template import template
from waiting import eventually

PERIOD = 10


class Alarm:
    """One of the stack's alarms under a name of its own, with a queue that hears of it."""

    def __init__(self, clients: Any, logical_id: str, **changes: Any) -> None:
        self._cloudwatch, self._sqs = clients.cloudwatch, clients.sqs
        self.name = f"watch-{uuid.uuid4().hex[:8]}"
        topic = clients.sns.create_topic(Name=self.name)["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName=self.name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
        stack: Any = template()
        properties = stack["Resources"][logical_id]["Properties"]
        own: dict[str, Any] = {"AlarmName": self.name, "Dimensions": [{"Name": "Endpoint", "Value": self.name}]}
        # CloudFormation puts the environment's name into it.
        own["AlarmDescription"] = str(properties["AlarmDescription"])
        own |= {"Period": PERIOD, "AlarmActions": [topic], **changes}
        self._metric = (properties["Namespace"], properties["MetricName"], own["Dimensions"])
        self._cloudwatch.put_metric_alarm(**{**properties, **own})

    def put(self, value: float, periods_ago: float = 0) -> None:
        """Publish one value, in the middle of a period that has ended."""
        namespace, name, dimensions = self._metric
        moment = time.time() - periods_ago * PERIOD
        datum = {"MetricName": name, "Dimensions": dimensions, "Value": value, "Timestamp": moment}
        self._cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])

    def speak(self) -> None:
        """Do what the monitor does once it has seen a photo."""
        self._cloudwatch.enable_alarm_actions(AlarmNames=[self.name])

    def becomes(self, state: str, seconds: float = 60) -> bool:
        """Whether it gets there in time."""
        return eventually(lambda: self._described()["StateValue"] == state, seconds)

    def told(self, seconds: int = 0) -> list[str]:
        """The states that it told of since the last call."""
        found = []
        query = {"QueueUrl": self._queue, "WaitTimeSeconds": seconds, "MaxNumberOfMessages": 10}
        for message in self._sqs.receive_message(**query).get("Messages", ()):
            found.append(str(json.loads(json.loads(message["Body"])["Message"])["NewStateValue"]))
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def _described(self) -> dict[str, Any]:
        found: dict[str, Any] = self._cloudwatch.describe_alarms(AlarmNames=[self.name])["MetricAlarms"][0]
        return found


@pytest.mark.parametrize(
    "logical_id",
    ["DriftAlarm", *(pytest.param(alike, marks=pytest.mark.slow) for alike in ("PredictionAlarm", "ProbeAlarm"))],
)
def test_a_run_fires_the_alarm_and_a_later_run_ends_it(clients: Any, logical_id: str) -> None:
    """Between two looks nothing is known, and the state stays; an acknowledged alarm's 0 brings it back to OK."""
    alarm = Alarm(clients, logical_id)
    alarm.put(0, periods_ago=1.8)
    assert not alarm.becomes("ALARM", 1)
    alarm.put(2, periods_ago=1.5)
    assert alarm.becomes("ALARM")
    assert alarm.told(20) == ["ALARM"]
    alarm.put(0, periods_ago=0.2)
    assert alarm.becomes("OK")
    assert alarm.told() == []


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_change_of_state_is_an_event_that_starts_what_a_rule_names(clients: Any, by_hand: bool) -> None:
    """The event has AWS's form, whether data or SetAlarmState changes it; other alarms and states start nothing."""
    arn = machine(clients, {"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": True}}})
    alarm, other = Alarm(clients, "DriftAlarm"), Alarm(clients, "DriftAlarm")
    pattern: dict[str, Any] = {"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"]}
    pattern |= {"detail": {"alarmName": [alarm.name], "state": {"value": ["ALARM"]}}}
    clients.events.put_rule(Name=alarm.name, EventPattern=json.dumps(pattern))
    clients.events.put_targets(Rule=alarm.name, Targets=[{"Id": "start", "Arn": arn, "RoleArn": ROLE}])
    for each in (other, alarm):
        if by_hand:
            clients.cloudwatch.set_alarm_state(AlarmName=each.name, StateValue="ALARM", StateReason="to try it")
        else:
            each.put(2, periods_ago=1.5)
        assert each.becomes("ALARM")
    if not by_hand:
        alarm.put(0, periods_ago=0.2)
        assert alarm.becomes("OK")
    listed = clients.stepfunctions.list_executions
    assert eventually(lambda: bool(listed(stateMachineArn=arn)["executions"]))
    (execution,) = listed(stateMachineArn=arn)["executions"]
    event = json.loads(clients.stepfunctions.describe_execution(executionArn=execution["executionArn"])["input"])
    assert (event["source"], event["account"], event["region"]) == ("aws.cloudwatch", "000000000000", "us-east-1")
    assert event["resources"] == [f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{alarm.name}"]
    detail = event["detail"]
    assert (detail["alarmName"], detail["state"]["value"]) == (alarm.name, "ALARM")
    assert detail["previousState"]["value"] in {"OK", "INSUFFICIENT_DATA"}
    assert datetime.strptime(detail["state"]["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
    (metric,) = detail["configuration"]["metrics"]
    assert metric["metricStat"]["metric"]["dimensions"] == {"Endpoint": alarm.name}
    clients.events.remove_targets(Rule=alarm.name, Ids=["start"])
    clients.events.delete_rule(Name=alarm.name)


@pytest.mark.slow
def test_silence_is_told_only_once_there_was_a_photo(clients: Any) -> None:
    """An alarm that has just been made knows of no photo, and keeps still; later the same state is told."""
    alarm = Alarm(clients, "SilenceAlarm", EvaluationPeriods=2)
    assert alarm.becomes("ALARM")
    assert alarm.told(1) == []
    alarm.speak()
    alarm.put(7, periods_ago=3.3)
    assert alarm.becomes("OK")
    assert alarm.becomes("ALARM")
    assert alarm.told(20) == ["ALARM"]


def test_a_look_without_photos_is_silence_too(clients: Any) -> None:
    """Zeros breach as gaps do: no requests, or no monitoring runs."""
    alarm = Alarm(clients, "SilenceAlarm", EvaluationPeriods=3, ActionsEnabled=True)
    for ago in (0.3, 1.3, 2.3):
        alarm.put(0, periods_ago=ago)
    assert alarm.becomes("ALARM")


def test_one_failed_look_is_no_alarm_and_two_of_three_hours_are(clients: Any) -> None:
    """M of N, with hours in which nothing failed between."""
    alarm = Alarm(clients, "MonitorErrors")
    alarm.put(1, periods_ago=2.5)
    assert not alarm.becomes("ALARM", 1.5)
    alarm.put(1, periods_ago=0.5)
    assert alarm.becomes("ALARM")
