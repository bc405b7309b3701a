"""Rollouts: what an UpdateEndpoint's DeploymentConfig asks for, as shares of traffic and waits.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

from dataclasses import dataclass

from scones_local.sagemaker.records import invalid
from scones_local.wire import Json

LONGEST_WAIT_SECONDS = 3600
SHORTEST_LIMIT_SECONDS, LONGEST_LIMIT_SECONDS = 600, 28800


@dataclass(frozen=True, slots=True)
class Rollout:
    """The green fleet's share of the traffic after each step, and what happens between them."""

    shares: tuple[float, ...] = (1.0,)
    wait_seconds: int = 0
    termination_seconds: int = 0
    limit_seconds: int = LONGEST_LIMIT_SECONDS
    alarms: tuple[str, ...] = ()


def rollout(config: Json | None, instances: int) -> Rollout:
    """Read a DeploymentConfig for a fleet of so many instances; without one, all traffic moves at once.

    Raises:
        AwsError: SageMaker would refuse it, or the local cloud does not do it.
    """
    if not config:
        return Rollout()
    policy = config.get("BlueGreenUpdatePolicy")
    if not policy or config.get("RollingUpdatePolicy"):
        raise invalid("The local cloud updates endpoints by BlueGreenUpdatePolicy only")
    routing = policy["TrafficRoutingConfiguration"]
    shares = _shares(routing, instances)
    wait, termination = routing.get("WaitIntervalInSeconds", 0), policy.get("TerminationWaitInSeconds", 0)
    limit = policy.get("MaximumExecutionTimeoutInSeconds", LONGEST_LIMIT_SECONDS)
    if max(wait, termination) > LONGEST_WAIT_SECONDS or min(wait, termination) < 0:
        raise invalid(f"WaitIntervalInSeconds and TerminationWaitInSeconds are 0 to {LONGEST_WAIT_SECONDS}")
    if not max(SHORTEST_LIMIT_SECONDS, wait * len(shares) + termination) <= limit <= LONGEST_LIMIT_SECONDS:
        raise invalid(
            f"MaximumExecutionTimeoutInSeconds is {SHORTEST_LIMIT_SECONDS} to {LONGEST_LIMIT_SECONDS}, "
            "and no less than all the waits together"
        )
    alarms = (config.get("AutoRollbackConfiguration") or {}).get("Alarms") or []
    return Rollout(shares, wait, termination, limit, tuple(alarm["AlarmName"] for alarm in alarms))


def _shares(routing: Json, instances: int) -> tuple[float, ...]:
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return (1.0,)
    member, smallest = {"CANARY": ("CanarySize", 0.0), "LINEAR": ("LinearStepSize", 0.1)}[kind]
    if member not in routing:
        raise invalid(f"{member} is required for {kind} traffic routing")
    size, whole = routing[member]["Value"], instances if routing[member]["Type"] == "INSTANCE_COUNT" else 100
    if not smallest <= size / whole <= 0.5:
        raise invalid(f"{member} must be {smallest:.0%} to 50% of the variant's {instances} instance(s)")
    if kind == "CANARY":
        return size / whole, 1.0
    return tuple(min(done, whole) / whole for done in range(size, whole + size, size))
