"""Status: show the environment's resources, manual changes, live model and hourly cost; change nothing."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from scones.aws.cloudformation import Stack, StackDrift
from scones.aws.connection import Aws
from scones.deployment.inventory import inventory, running_instances, tagged_resources
from scones.deployment.pricing import hourly_dollars, idle_hourly_dollars
from scones.deployment.releases import Release, list_releases

_NAMED = 3
"""How many names of a kind are shown; `--json` has all."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the stack and the endpoint, empty if there is none, and all resources."""

    env: str
    account: str
    region: str
    stack: str
    drift: StackDrift | None
    """None if there is no stack."""
    endpoint: str
    endpoint_config: str
    wanted_config: str
    """The configuration of the last finished release."""
    hourly_dollars: float | None
    """On AWS, by the price table; None if it lacks an instance type."""
    leftovers: tuple[str, ...]
    """Resources that belong to neither the stack nor a release."""
    resources: tuple[str, ...]

    def summary(self) -> Iterable[str]:
        """The lines for a person."""
        yield f"account {self.account}, {self.region}, environment {self.env}"
        yield f"stack {self.stack or 'none'}, endpoint {self.endpoint or 'none'}"
        if self.drift:
            yield f"drift {self.drift}"
        if self.endpoint_config != self.wanted_config:
            wanted = self.wanted_config or "no release"
            live = self.endpoint_config or "nothing"
            yield f"ENDPOINT: {live} is live, but {wanted} was deployed last; run: scones deploy"
        elif self.endpoint:
            yield f"endpoint configuration {self.endpoint_config}, that of the last release"
        dollars = "unknown: an instance type has no price" if self.hourly_dollars is None else self._cost()
        yield f"cost on AWS: {dollars}"
        yield from (f"resource: {line}" for line in _by_kind(self.resources))
        yield from (f"LEFTOVER: {item}" for item in self.leftovers)

    def _cost(self) -> str:
        return f"${self.hourly_dollars:.3f} an hour, besides requests and storage"


def _by_kind(items: Iterable[str]) -> Iterable[str]:
    """One line for each kind of resource, with the first names."""
    kinds: dict[str, list[str]] = {}
    for item in items:
        kind, _, name = item.partition(" ")
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        count = f" x {len(names)}" if len(names) > 1 else ""
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{kind}{count}: {', '.join(names[:_NAMED])}{more}"


def status(aws: Aws) -> Status:
    """Read the state of the environment."""
    stack = aws.stack.find()
    endpoint = aws.sagemaker.find_endpoint(aws.name)
    kept = [release for release in list_releases(aws.bucket) if release.finished]
    known = tagged_resources(aws)
    resources = inventory(aws, known)
    hourly = hourly_dollars(running_instances(aws))
    idle = _idle_dollars(aws, stack) if stack and "WorkflowArn" in stack.outputs else 0.0
    return Status(
        env=aws.env,
        account=aws.account,
        region=aws.region,
        stack=stack.status if stack else "",
        drift=aws.stack.drift() if stack else None,
        endpoint=endpoint.status if endpoint else "",
        endpoint_config=endpoint.config if endpoint else "",
        wanted_config=kept[-1].config if kept else "",
        hourly_dollars=None if hourly is None else hourly + idle,
        leftovers=leftovers(resources, _needed(kept, endpoint.config if endpoint else ""), has_stack=stack is not None)
        + (tuple(map(str, known.unmanaged)) if stack else ()),
        resources=resources,
    )


def leftovers(resources: Iterable[str], needed: Collection[str], *, has_stack: bool) -> tuple[str, ...]:
    """Name the unused resources: all if there is no stack, else models and configurations that are not *needed*."""
    if not has_stack:
        return tuple(resources)
    kinds = ("endpoint-config ", "model ")
    return tuple(item for item in resources if item.startswith(kinds) and item not in needed)


def _idle_dollars(aws: Aws, stack: Stack) -> float:
    """What the idle stack costs per hour; its monitor runs at a rate such as `60 minutes`."""
    resources = Counter(resource.type for resource in aws.stack.resources())
    return idle_hourly_dollars(resources, float(stack.parameters["MonitorRate"].split()[0]))


def _needed(kept: Iterable[Release], live: str) -> set[str]:
    """The configurations and models of the kept releases, and the live configuration."""
    named = {f"endpoint-config {release.config}" for release in kept} | {f"model {release.model}" for release in kept}
    return named | {f"endpoint-config {live}"}
