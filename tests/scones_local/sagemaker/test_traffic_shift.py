"""Rollouts: a DeploymentConfig as steps, and the traffic that each step gives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones_local.sagemaker.fleet import EndpointFleets, ServerFleet
from scones_local.sagemaker.hosting import TrafficShift, traffic_shift
from scones_local.wire import ServiceError


def asked(kind: str, **routing: Any) -> dict[str, Any]:
    """A DeploymentConfig with an alarm."""
    return {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": 2, **routing}},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
    }


def size(value: int, kind: str = "CAPACITY_PERCENT") -> dict[str, Any]:
    """A capacity."""
    return {"Type": kind, "Value": value}


@pytest.mark.parametrize(
    ("config", "shares"),
    [
        (asked("ALL_AT_ONCE"), (1.0,)),
        (asked("CANARY", CanarySize=size(10)), (0.1, 1.0)),
        (asked("CANARY", CanarySize=size(1, "INSTANCE_COUNT")), (0.25, 1.0)),
        (asked("LINEAR", LinearStepSize=size(40)), (0.4, 0.8, 1.0)),
        (asked("LINEAR", LinearStepSize=size(2, "INSTANCE_COUNT")), (0.5, 1.0)),
    ],
)
def test_a_policy_is_a_row_of_shares(config: dict[str, Any], shares: tuple[float, ...]) -> None:
    """Canary takes two steps, linear as many as its size asks for; the last is all of the traffic."""
    assert traffic_shift(config, 4) == TrafficShift(shares, wait_seconds=2, alarms=("errors",))


def test_without_a_policy_all_traffic_moves_at_once() -> None:
    """As SageMaker does by default."""
    assert traffic_shift(None, 1) == TrafficShift()


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (asked("CANARY"), "CanarySize is required"),
        (asked("CANARY", CanarySize=size(51)), "CanarySize must be"),
        (asked("CANARY", CanarySize=size(3, "INSTANCE_COUNT")), "of the variant's 4"),
        (asked("LINEAR", LinearStepSize=size(9)), "10% to 50%"),
        (asked("ALL_AT_ONCE", WaitIntervalInSeconds=3601), "0 to 3600"),
        ({"RollingUpdatePolicy": {}}, "BlueGreenUpdatePolicy only"),
    ],
)
def test_what_sagemaker_refuses_is_refused(config: dict[str, Any], reason: str) -> None:
    """Sizes beyond half of the fleet, waits beyond an hour, and policies that are not done here."""
    with pytest.raises(ServiceError, match=reason):
        traffic_shift(config, 4)


def test_a_time_limit_shorter_than_the_waits_is_refused() -> None:
    """SageMaker wants room for every wait."""
    config = asked("CANARY", CanarySize=size(10), WaitIntervalInSeconds=400)
    config["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 600
    with pytest.raises(ServiceError, match="all the waits"):
        traffic_shift(config, 1)


@given(st.floats(0, 1), st.integers(1, 300))
def test_green_gets_its_share_of_every_run(share: float, requests: int) -> None:
    """However many requests: no more and no less than the share, to within one."""
    blue, green = (ServerFleet(name, {}, {}, []) for name in ("blue", "green"))
    deployment = EndpointFleets(blue)
    deployment.shift(green, share)
    given_green = sum(deployment.choose() is green for _ in range(requests))
    assert abs(given_green - share * requests) <= 1


def test_a_finished_deployment_gives_nothing_to_the_old_fleet() -> None:
    """Green becomes blue."""
    blue, green = (ServerFleet(name, {}, {}, []) for name in ("blue", "green"))
    deployment = EndpointFleets(blue)
    deployment.shift(green, 0.5)
    assert deployment.finish() is blue
    assert {deployment.choose() for _ in range(4)} == {green}
