"""Cleanup: find and delete what carries an environment's tag or was in its stack."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from scones.aws.client import AwsError, Client
from scones.aws.connection import Aws
from scones.deployment.template import function_names
from scones.domain.naming import ENV_TAG


@dataclass(frozen=True, slots=True)
class OwnedResource:
    """One resource: its *kind* as in ARNs (`lambda:function`), its name, and its ARN if known."""

    kind: str
    name: str
    arn: str

    def __str__(self) -> str:
        """The name in an inventory; resources of unknown kinds are named by their ARN."""
        return (
            f"{RESOURCE_KINDS[self.kind].word} {self.name}" if self.kind in RESOURCE_KINDS else f"resource {self.arn}"
        )


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """One kind of resource: its name, service and type in templates, and how to find and delete one."""

    word: str
    service: str
    type: str
    find: Callable[[Client, OwnedResource], object]
    delete: Callable[[Client, OwnedResource], object]


class Cleanup:
    """Resources of the environment whose stack is called *stack*; raises AwsError as its calls do.

    *budgets* is the ARN of the account's budgets, without a name.
    """

    def __init__(self, open_client: Callable[[str], Client], stack: str, budgets: str) -> None:
        self._open = open_client
        self._stack = stack
        self._budget_arn = budgets

    def tagged(self, besides: Iterable[OwnedResource] = ()) -> list[OwnedResource]:
        """Find all existing resources with the environment's tag, *besides* known ones.

        AWS lists deleted resources for a while, so each is checked.
        """
        known = {(each.kind, each.name) for each in besides}
        listed = (*self._by_tag(), *self._roles(), *self._dashboards(), *self._budgets())
        new = (each for each in listed if (each.kind, each.name) not in known and not _listed_by_name(each.kind))
        return [each for each in new if self.exists(each)]

    def exists(self, resource: OwnedResource) -> bool:
        """Tell whether one exists; resources of unknown kinds are assumed to exist."""
        kind = RESOURCE_KINDS.get(resource.kind)
        if kind is None:
            return True
        try:
            return bool(kind.find(self._open(kind.service), resource))
        except AwsError as error:
            if error.not_found:
                return False
            raise

    def disable_rule(self, rule: str) -> None:
        """Disable a rule, if it exists."""
        self._open("events").find("disable_rule", Name=rule)

    def delete(self, resource: OwnedResource) -> bool:
        """Delete one, if it exists; False if this version does not know its kind."""
        kind = RESOURCE_KINDS.get(resource.kind)
        if kind is None:
            return False
        try:
            kind.delete(self._open(kind.service), resource)
        except AwsError as error:
            if not error.not_found:
                raise
        return True

    def _by_tag(self) -> Iterable[OwnedResource]:
        tag = {"Key": ENV_TAG, "Values": [self._stack]}
        for page in self._open("resourcegroupstaggingapi").pages("get_resources", TagFilters=[tag]):
            yield from (parse_arn(each["ResourceARN"]) for each in page["ResourceTagMappingList"])

    def _roles(self) -> Iterable[OwnedResource]:
        """Roles, which AWS does not list by tag."""
        client = self._open("iam")
        names = [role["RoleName"] for page in client.pages("list_roles") for role in page["Roles"]]
        for name in names:
            if name.startswith(f"{self._stack}-") and self._owns_role(client, name):
                yield OwnedResource("iam:role", name, "")

    def _owns_role(self, client: Client, name: str) -> bool:
        found = client.find("list_role_tags", RoleName=name)
        return found is not None and {"Key": ENV_TAG, "Value": self._stack} in found["Tags"]

    def _dashboards(self) -> Iterable[OwnedResource]:
        """The dashboard, which has no tags, by its name."""
        pages = self._open("cloudwatch").pages("list_dashboards", DashboardNamePrefix=self._stack)
        names = [each["DashboardName"] for page in pages for each in page.get("DashboardEntries", ())]
        return [OwnedResource("cloudwatch:dashboard", name, "") for name in names if name == self._stack]

    def _budgets(self) -> Iterable[OwnedResource]:
        """The budget, by its name; without permission to read budgets Scones created none."""
        budget = OwnedResource("budgets:budget", self._stack, f"{self._budget_arn}/{self._stack}")
        try:
            return [budget] if self.exists(budget) else []
        except AwsError as error:
            if error.code in {"AccessDenied", "AccessDeniedException"}:
                return []
            raise


def parse_arn(arn: str) -> OwnedResource:
    """Read an ARN: `arn:aws:lambda:<region>:<account>:function:<name>`, or with `/`, or with a name alone."""
    service, rest = arn.split(":", 5)[2], arn.split(":", 5)[5]
    if service in {"s3", "sns", "sqs"}:
        return OwnedResource(service, rest, arn)
    kind, _, name = re.sub("[:/]", "\n", rest, count=1).partition("\n")
    return OwnedResource(f"{service}:{kind}", name.removesuffix(":*"), arn)


def stack_member(resource_type: str, physical_id: str) -> OwnedResource | None:
    """Parse a stack resource's physical ID, which is a name, an ARN or a URL; None for unknown types."""
    kinds = [kind for kind, about in RESOURCE_KINDS.items() if about.type == resource_type]
    if not kinds:
        return None
    if physical_id.startswith("arn:"):
        return parse_arn(physical_id)
    name = physical_id.rpartition("/")[2] if "://" in physical_id else physical_id
    return OwnedResource(kinds[0], name, "")


_TARGETS_AT_ONCE = 100


def _delete_rule(client: Client, it: OwnedResource) -> None:
    pages = client.pages("list_targets_by_rule", Rule=it.name)
    targets = [target["Id"] for page in pages for target in page["Targets"]]
    if targets:
        client.call_all("remove_targets", targets, _TARGETS_AT_ONCE, lambda ids: {"Rule": it.name, "Ids": ids})
    client.call("delete_rule", Name=it.name)


def _delete_role(client: Client, it: OwnedResource) -> None:
    which = {"RoleName": it.name}
    for page in client.pages("list_role_policies", **which):
        for name in page["PolicyNames"]:
            client.call("delete_role_policy", **which, PolicyName=name)
    for page in client.pages("list_attached_role_policies", **which):
        for policy in page["AttachedPolicies"]:
            client.call("detach_role_policy", **which, PolicyArn=policy["PolicyArn"])
    client.call("delete_role", **which)


def _budget(it: OwnedResource) -> dict[str, str]:
    return {"AccountId": it.arn.split(":")[4], "BudgetName": it.name}


def _queue_url(client: Client, it: OwnedResource) -> str:
    url: str = client.call("get_queue_url", QueueName=it.name)["QueueUrl"]
    return url


def _groups(client: Client, it: OwnedResource) -> list[str]:
    groups = client.call("describe_log_groups", logGroupNamePrefix=it.name)["logGroups"]
    return [group["logGroupName"] for group in groups if group["logGroupName"] == it.name]


def _listed_by_name(kind: str) -> bool:
    """Whether an inventory lists it by name: the stack, its bucket, and SageMaker's resources."""
    return kind in {"s3", "cloudformation:stack"} or kind.startswith("sagemaker:")


RESOURCE_KINDS = {
    "lambda:function": ResourceKind(
        "function",
        "lambda",
        "AWS::Lambda::Function",
        lambda client, it: client.call("get_function_configuration", FunctionName=it.name),
        lambda client, it: client.call("delete_function", FunctionName=it.name),
    ),
    "states:stateMachine": ResourceKind(
        "state-machine",
        "stepfunctions",
        "AWS::StepFunctions::StateMachine",
        lambda client, it: client.call("describe_state_machine", stateMachineArn=it.arn)["status"] != "DELETING",
        lambda client, it: client.call("delete_state_machine", stateMachineArn=it.arn),
    ),
    "sqs": ResourceKind(
        "queue",
        "sqs",
        "AWS::SQS::Queue",
        _queue_url,
        lambda client, it: client.call("delete_queue", QueueUrl=_queue_url(client, it)),
    ),
    "sns": ResourceKind(
        "topic",
        "sns",
        "AWS::SNS::Topic",
        lambda client, it: client.call("get_topic_attributes", TopicArn=it.arn),
        lambda client, it: client.call("delete_topic", TopicArn=it.arn),
    ),
    "dynamodb:table": ResourceKind(
        "table",
        "dynamodb",
        "AWS::DynamoDB::Table",
        lambda client, it: client.call("describe_table", TableName=it.name),
        lambda client, it: client.call("delete_table", TableName=it.name),
    ),
    "events:rule": ResourceKind(
        "rule",
        "events",
        "AWS::Events::Rule",
        lambda client, it: client.call("describe_rule", Name=it.name),
        _delete_rule,
    ),
    "cloudwatch:alarm": ResourceKind(
        "alarm",
        "cloudwatch",
        "AWS::CloudWatch::Alarm",
        lambda client, it: client.call("describe_alarms", AlarmNames=[it.name])["MetricAlarms"],
        lambda client, it: client.call("delete_alarms", AlarmNames=[it.name]),
    ),
    "cloudwatch:dashboard": ResourceKind(
        "dashboard",
        "cloudwatch",
        "AWS::CloudWatch::Dashboard",
        lambda client, it: client.call("get_dashboard", DashboardName=it.name),
        lambda client, it: client.call("delete_dashboards", DashboardNames=[it.name]),
    ),
    "logs:log-group": ResourceKind(
        "log-group",
        "logs",
        "AWS::Logs::LogGroup",
        _groups,
        lambda client, it: client.call("delete_log_group", logGroupName=it.name),
    ),
    "ecr:repository": ResourceKind(
        "repository",
        "ecr",
        "AWS::ECR::Repository",
        lambda client, it: client.call("describe_repositories", repositoryNames=[it.name]),
        lambda client, it: client.call("delete_repository", repositoryName=it.name, force=True),
    ),
    "codebuild:project": ResourceKind(
        "build-project",
        "codebuild",
        "AWS::CodeBuild::Project",
        lambda client, it: client.call("batch_get_projects", names=[it.name])["projects"],
        lambda client, it: client.call("delete_project", name=it.name),
    ),
    # A key is billed until its deletion is scheduled; AWS then waits for a week or more.
    "kms:key": ResourceKind(
        "key",
        "kms",
        "AWS::KMS::Key",
        lambda client, it: client.call("describe_key", KeyId=it.name)["KeyMetadata"]["KeyState"] != "PendingDeletion",
        lambda client, it: client.call("schedule_key_deletion", KeyId=it.name, PendingWindowInDays=7),
    ),
    # Without a type: a stack's own listing does not name its account, so it is found by its name.
    "budgets:budget": ResourceKind(
        "budget",
        "budgets",
        "",
        lambda client, it: client.call("describe_budget", **_budget(it)),
        lambda client, it: client.call("delete_budget", **_budget(it)),
    ),
    "iam:role": ResourceKind(
        "role",
        "iam",
        "AWS::IAM::Role",
        lambda client, it: client.call("get_role", RoleName=it.name),
        _delete_role,
    ),
}
"""The resources that this version can delete, by the kinds in ARNs."""


def open_cleanup(aws: Aws) -> Cleanup:
    """The cleanup of the environment that *aws* is connected to."""
    return Cleanup(aws.client, aws.name, f"arn:{aws.partition}:budgets::{aws.account}:budget")


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
