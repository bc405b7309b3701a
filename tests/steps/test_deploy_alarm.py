"""The stack's own alarm: what it watches is really measured."""

import time
from datetime import UTC, datetime, timedelta

from access_keys import KEYS
from scones.aws.client import Client
from scones.deployment.template import template
from scones.pipeline import Pipeline
from tiny_model import plain_photo


def test_the_functions_errors_are_counted_where_the_alarm_looks(flow: Pipeline) -> None:
    """The alarm's namespace, metric and dimension hold the failure of a function that the workflow called."""
    flow.classify_samples([flow.upload("a.png", plain_photo(200)[:60])])
    alarm = template()["Resources"]["ClassifyErrors"]["Properties"]  # type: ignore[index]
    cloudwatch = Client(flow.settings, "cloudwatch", KEYS)
    now, deadline, counted = datetime.now(UTC), time.monotonic() + 30, 0.0
    while not counted:
        assert time.monotonic() < deadline
        points = cloudwatch.call(
            "get_metric_statistics",
            Namespace=alarm["Namespace"],
            MetricName=alarm["MetricName"],
            Dimensions=[{"Name": alarm["Dimensions"][0]["Name"], "Value": f"{flow.aws.name}-classify"}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=300,
            Statistics=[alarm["Statistic"]],
        )["Datapoints"]
        counted = sum(point["Sum"] for point in points)
        time.sleep(0.1)
