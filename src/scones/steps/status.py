"""Status: what of this environment stands right now, whether it is as it should be, and what it costs."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from scones.aws.cloudformation import Stack, StackDrift
from scones.aws.connection import Aws
from scones.deployment.inventory import inventory, running_instances, tagged_resources
from scones.deployment.pricing import hourly_dollars, idle_hourly_dollars
from scones.deployment.releases import Release, list_releases

_NAMED = 3
"""Of so many things of a kind a person is told the names; `--json` has them all."""


@dataclass(frozen=True, slots=True)
class Status:
    """The stack's and the endpoint's own words, and everything that stands; empty words where there is none."""

    env: str
    account: str
    region: str
    stack: str
    drift: StackDrift | None
    """None where no stack stands."""
    endpoint: str
    endpoint_config: str
    wanted_config: str
    """What the last release recorded."""
    hourly_dollars: float | None
    """On AWS, by the dated prices; None where the price table lacks an instance type."""
    leftovers: tuple[str, ...]
    """What stands, and belongs to no stack and no release."""
    resources: tuple[str, ...]

    def summary(self) -> Iterable[str]:
        """The lines for a person."""
        yield f"account {self.account}, {self.region}, environment {self.env}"
        yield f"stack {self.stack or 'none'}, endpoint {self.endpoint or 'none'}"
        if self.drift:
            yield f"drift {self.drift}"
        if self.endpoint_config != self.wanted_config:
            wanted = self.wanted_config or "nothing that a release recorded"
            yield f"ENDPOINT: {self.endpoint_config or 'nothing'} is live, {wanted} is wanted; run: scones deploy"
        elif self.endpoint:
            yield f"endpoint configuration {self.endpoint_config}, as the last release wants it"
        dollars = "unknown, for an instance type has no price" if self.hourly_dollars is None else self._cost()
        yield f"on AWS right now: {dollars}"
        yield from (f"standing: {line}" for line in _by_kind(self.resources))
        yield from (f"LEFT OVER: {item}" for item in self.leftovers)

    def _cost(self) -> str:
        return f"${self.hourly_dollars:.3f} an hour, besides what is sent and stored"


def _by_kind(items: Iterable[str]) -> Iterable[str]:
    """One line for each kind of thing; of many of a kind the first ones by name."""
    kinds: dict[str, list[str]] = {}
    for item in items:
        kind, _, name = item.partition(" ")
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        count = f" x {len(names)}" if len(names) > 1 else ""
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{kind}{count}: {', '.join(names[:_NAMED])}{more}"


def status(aws: Aws) -> Status:
    """Look, and change nothing."""
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
        leftovers=leftovers(resources, _needed(kept, endpoint.config if endpoint else ""), stands=stack is not None)
        + (tuple(map(str, known.unmanaged)) if stack else ()),
        resources=resources,
    )


def leftovers(standing: Iterable[str], needed: Collection[str], *, stands: bool) -> tuple[str, ...]:
    """Name what nobody needs: everything without a stack, else each model and configuration beyond *needed*."""
    if not stands:
        return tuple(standing)
    kinds = ("endpoint-config ", "model ")
    return tuple(item for item in standing if item.startswith(kinds) and item not in needed)


def _idle_dollars(aws: Aws, stack: Stack) -> float:
    """What the stack costs an hour by itself; its monitor runs at a rate such as `60 minutes`."""
    resources = Counter(resource.type for resource in aws.stack.resources())
    return idle_hourly_dollars(resources, float(stack.parameters["MonitorRate"].split()[0]))


def _needed(kept: Iterable[Release], live: str) -> set[str]:
    """The configurations and models of the releases that are kept; what serves, though no release says so, is told."""
    named = {f"endpoint-config {release.config}" for release in kept} | {f"model {release.model}" for release in kept}
    return named | {f"endpoint-config {live}"}
