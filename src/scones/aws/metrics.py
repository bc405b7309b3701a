"""CloudWatch: publish what was measured; let an alarm speak."""

from collections.abc import Mapping

from scones.aws.client import Client

_AT_ONCE = 1000
"""What one PutMetricData takes."""


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

    def let_speak(self, alarm: str) -> None:
        """Have an alarm tell its topic from now on; one that is not there is passed over."""
        self._client.call("enable_alarm_actions", AlarmNames=[alarm])
