"""CloudWatch and SNS: metrics, alarms, logs and notices."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from scones.aws.client import Client

_AT_ONCE = 1000
"""The limit of one PutMetricData."""


class Metrics:
    """CloudWatch's metrics and alarms."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def publish(self, namespace: str, dimensions: Mapping[str, str], values: Mapping[str, float]) -> None:
        """Publish one value of each metric, in as few calls as CloudWatch takes."""
        labels = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        data = [{"MetricName": name, "Dimensions": labels, "Value": value} for name, value in values.items()]
        for start in range(0, len(data), _AT_ONCE):
            batch = data[start : start + _AT_ONCE]
            self._client.call("put_metric_data", Namespace=namespace, MetricData=batch)

    def enable_alarm(self, alarm: str) -> None:
        """Enable the actions of an alarm; one that does not exist is ignored."""
        self._client.call("enable_alarm_actions", AlarmNames=[alarm])


TRAINING_GROUP = "/aws/sagemaker/TrainingJobs"
"""The log group of all training jobs of an account."""


class LogEvent(NamedTuple):
    """One event of a log: when it was written, in seconds since 1970, and what it says."""

    when: float
    message: str


class Logs:
    """Log groups and their lines."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def training(self, job: str) -> "TrainingLog":
        """Open the log of one training job."""
        return TrainingLog(self._client, job)

    def groups(self, prefix: str) -> list[str]:
        """Name the log groups whose names start with *prefix*."""
        pages = self._client.pages("describe_log_groups", logGroupNamePrefix=prefix)
        return [group["logGroupName"] for page in pages for group in page["logGroups"]]

    def event_pages(self, group: str, since: float, contains: str, stream_prefix: str) -> Iterator[list[LogEvent]]:
        """Yield the events of a group since a time in seconds, the newest first, page by page; none if it is missing.

        *contains* is a filter pattern; only streams whose names start with *stream_prefix* are read.
        """
        where: dict[str, Any] = {"logGroupName": group, "startTime": int(since * 1000), "startFromHead": False}
        where |= {"filterPattern": contains} if contains else {}
        where |= {"logStreamNamePrefix": stream_prefix} if stream_prefix else {}
        for page in self._client.find_pages("filter_log_events", **where):
            yield [LogEvent(each["timestamp"] / 1000, each.get("message", "")) for each in page["events"]]

    def delete_group(self, name: str) -> None:
        """Delete a log group, if it exists."""
        self._client.find("delete_log_group", logGroupName=name)

    def training_streams(self, prefix: str) -> list[str]:
        """Name the streams of training jobs whose names start with *prefix*; their group is the whole account's."""
        where = {"logGroupName": TRAINING_GROUP, "logStreamNamePrefix": prefix}
        pages = self._client.find_pages("describe_log_streams", **where)
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]

    def delete_training_stream(self, name: str) -> None:
        """Delete one of them, if it exists."""
        self._client.find("delete_log_stream", logGroupName=TRAINING_GROUP, logStreamName=name)


class TrainingLog:
    """A training job's log, read forward: each line once."""

    def __init__(self, client: Client, job: str) -> None:
        self._client = client
        self._job = job
        self._stream = ""
        self._token: dict[str, str] = {}

    def new_lines(self) -> Iterator[str]:
        """Yield the lines since the last call; none while there is no log yet."""
        if not self._stream and not self._find_stream():
            return
        where = {"logGroupName": TRAINING_GROUP, "logStreamName": self._stream}
        while True:
            reply = self._client.call("get_log_events", **where, startFromHead=True, **self._token)
            yield from (event["message"] for event in reply["events"])
            if reply["nextForwardToken"] == self._token.get("nextToken") or not reply["events"]:
                return
            self._token = {"nextToken": reply["nextForwardToken"]}

    def _find_stream(self) -> bool:
        where = {"logGroupName": TRAINING_GROUP, "logStreamNamePrefix": f"{self._job}/"}
        found = self._client.find("describe_log_streams", **where)
        streams = found["logStreams"] if found else ()
        self._stream = streams[0]["logStreamName"] if streams else ""
        return bool(self._stream)


_SUBJECT_LIMIT = 100


class Notices:
    """Publishes alerts."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def publish(self, topic: str, subject: str, message: str, attributes: Mapping[str, str] | None = None) -> str:
        """Publish and return the message's id; SNS takes at most 100 characters of subject.

        Queues, functions and URLs receive *attributes* too, and can filter by them; mail does not show them.
        """
        named = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
        reply = self._client.call(
            "publish", TopicArn=topic, Subject=subject[:_SUBJECT_LIMIT], Message=message, MessageAttributes=named
        )
        message_id: str = reply["MessageId"]
        return message_id
