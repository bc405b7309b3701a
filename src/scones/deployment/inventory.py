"""Inventory: all resources of one environment in the account."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scones.aws.connection import Aws
from scones.deployment.cleanup import OwnedResource, open_cleanup, stack_member
from scones.deployment.template import function_names
from scones.domain.naming import ENV_TAG

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


@dataclass(frozen=True, slots=True)
class TaggedResources:
    """The stack's resources, and others with the environment's tag: another version's, or the user's."""

    members: Sequence[OwnedResource]
    unmanaged: Sequence[OwnedResource]

    @property
    def all(self) -> list[OwnedResource]:
        """Both, sorted."""
        return sorted([*self.members, *self.unmanaged], key=str)


def tagged_resources(aws: Aws) -> TaggedResources:
    """Find the environment's resources, by its stack and by its tag."""
    members = stack_members(aws)
    return TaggedResources(members, open_cleanup(aws).tagged(besides=members))


def stack_members(aws: Aws) -> list[OwnedResource]:
    """The stack's resources of the kinds that this version knows."""
    named = (stack_member(each.type, each.physical_id) for each in aws.stack.resources())
    return [each for each in named if each]


def inventory(aws: Aws, known: TaggedResources | None = None) -> tuple[str, ...]:
    """Name all resources as `kind name`, without ended training jobs, which cannot be deleted.

    They are found by the names that Scones chooses, by the stack's own list, and by the environment's tag, which also
    finds what another version created and what a stack left. The last two take many calls: callers that have made
    them pass what is *known*.
    """
    known = known or tagged_resources(aws)
    found = [f"training-job {name}" for name in aws.sagemaker.running_trainings(aws.prefix)]
    found += [f"endpoint {name}" for name in endpoints(aws)]
    if aws.scaling.exists():
        found.append(f"scalable-target {aws.scaling.name}")
    found += [f"endpoint-config {name}" for name in aws.sagemaker.configs(aws.prefix)]
    found += [f"model {name}" for name in aws.sagemaker.models(aws.prefix)]
    found += registered_models(aws)
    stack = aws.stack.find()
    if stack:
        found.append(f"stack {stack.name}")
    if owns_bucket(aws):
        found.append(f"bucket {aws.bucket.name}")
    found += map(str, known.all)
    found += [f"log-group {name}" for name in log_groups(aws, known.all)]
    found += [f"log-stream {name}" for name in aws.logs.training_streams(aws.prefix)]
    return tuple(dict.fromkeys(found))


def endpoints(aws: Aws) -> list[str]:
    """Name the endpoints of this environment."""
    own = [aws.name] if aws.sagemaker.find_endpoint(aws.name) else []
    return own + aws.sagemaker.endpoints(aws.prefix)


def registered_models(aws: Aws) -> list[str]:
    """Name the registered models of this environment, and their group."""
    group = [f"model-package-group {aws.registry.group}"] if aws.registry.exists() else []
    return [f"model-package {number}" for number in aws.registry.numbers()] + group


def owns_bucket(aws: Aws) -> bool:
    """Tell whether the environment's bucket exists with its tag; one without the tag was not created by Scones."""
    return aws.bucket.tags().get(ENV_TAG) == aws.name


def log_groups(aws: Aws, members: Iterable[OwnedResource]) -> list[str]:
    """Name the log groups that AWS created for this environment, which have no tag.

    Only whole names match: a name with the same beginning may be another environment's, or a user's own.
    """
    functions = {each.name for each in members if each.kind == "lambda:function"}
    functions |= {f"{aws.name}-{name}" for name in function_names()}
    wanted = [f"/aws/sagemaker/Endpoints/{aws.name}", f"/aws/codebuild/{aws.name}"]
    wanted += [f"/aws/lambda/{name}" for name in sorted(functions)]
    found = {name for prefix in _prefixes(aws) for name in aws.logs.groups(prefix)}
    return [name for name in wanted if name in found]


def _prefixes(aws: Aws) -> tuple[str, ...]:
    return tuple(f"/aws/{service}/{aws.name}" for service in ("sagemaker/Endpoints", "codebuild", "lambda"))


def other_regions(aws: Aws) -> tuple[str, ...]:
    """Name the other regions where this environment has a bucket."""
    prefix = f"{aws.name}-{aws.account}-"
    regions = (name.removeprefix(prefix) for name in aws.bucket.siblings(prefix))
    return tuple(sorted(name for name in regions if _REGION.fullmatch(name) and name != aws.region))


def running_instances(aws: Aws) -> dict[str, int]:
    """Count the instances that are billed now, of endpoints and training jobs, by type."""
    found: dict[str, int] = {}
    for name in endpoints(aws):
        endpoint = aws.sagemaker.find_endpoint(name)
        for instance, count in (aws.sagemaker.instances(endpoint) if endpoint else {}).items():
            found[instance] = found.get(instance, 0) + count
    for job in aws.sagemaker.running_trainings(aws.prefix):
        instance, count = aws.sagemaker.training_instances(job)
        found[instance] = found.get(instance, 0) + count
    return found
