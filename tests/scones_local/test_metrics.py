"""Metrics: under SageMaker's names, summed up, and complete."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aws_calls import Endpoint
from waiting import eventually


def total(client: Any, endpoint: str, name: str, statistic: str) -> float:
    """One statistic of one metric over the last minutes; nan where there is no data."""
    now = datetime.now(UTC)
    points = client.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=name,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=3600,
        Statistics=[statistic],
    )["Datapoints"]
    return sum(float(point[statistic]) for point in points)


def test_each_request_is_counted_under_sagemakers_names(endpoint: Endpoint, clients: Any) -> None:
    """Invocations, errors by kind, and latencies in microseconds come to CloudWatch."""
    for _ in range(3):
        endpoint.ask()
    for body in (b"break", b"fault", b"fault"):
        with pytest.raises(endpoint.runtime.exceptions.ModelError):
            endpoint.ask(body)
    counted = {"Invocations": 6, "Invocation4XXErrors": 1, "Invocation5XXErrors": 2}
    assert eventually(
        lambda: {name: total(clients.cloudwatch, endpoint.name, name, "Sum") for name in counted} == counted
    )
    for name in ("ModelLatency", "OverheadLatency"):
        assert total(clients.cloudwatch, endpoint.name, name, "SampleCount") == 6
        assert 0 < total(clients.cloudwatch, endpoint.name, name, "Average") < 60e6


def test_a_server_that_is_down_counts_as_a_server_error(endpoint: Endpoint, clients: Any) -> None:
    """Or no alarm would ever see it."""
    with pytest.raises(Exception, match="ServiceUnavailable"):
        endpoint.ask(b"crash")
    assert eventually(lambda: total(clients.cloudwatch, endpoint.name, "Invocation5XXErrors", "Sum") >= 1)
