"""The policies of the composed template, and what AWS's own tables say of their actions."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from scones.deployment.template import template

Json = dict[str, Any]


@dataclass(frozen=True)
class Grant:
    """One action that one role may do, on the resources as the template writes them."""

    role: str
    action: str
    resources: tuple[str, ...]
    conditional: bool
    """Whether the statement has a condition of its own."""

    @property
    def everywhere(self) -> bool:
        """Whether it is allowed on any resource."""
        return "*" in self.resources


@cache
def composed() -> dict[str, Json]:
    """Every resource of the template, by logical name; to be read only."""
    found: Any = template()["Resources"]
    return dict(found)


def resources(kind: str) -> dict[str, Json]:
    """Every resource of one type, by logical name."""
    return {name: item for name, item in composed().items() if item["Type"] == kind}


def grants() -> list[Grant]:
    """All that the template's roles may do; what a condition of the stack guards counts as allowed."""
    return [
        grant
        for role, item in resources("AWS::IAM::Role").items()
        for policy in item["Properties"]["Policies"]
        for grant in _granted(role, statements(policy["PolicyDocument"]))
    ]


def key_grants() -> set[tuple[str, str]]:
    """Which role may do what with the key, by the policies that stand beside the roles: (role, action)."""
    return {
        (role["Ref"], action)
        for item in resources("AWS::IAM::Policy").values()
        for role in item["Properties"]["Roles"]
        for statement in statements(item["Properties"]["PolicyDocument"])
        for action in listed(statement["Action"])
        if [written(resource) for resource in listed(statement["Resource"])] == ["${Key.Arn}"]
    }


def statements(document: Json) -> Iterator[Json]:
    """The statements of a policy, both branches of an `If` included."""
    for entry in document["Statement"]:
        for statement in entry["Fn::If"][1:] if "Fn::If" in entry else [entry]:
            if "Effect" in statement:
                yield statement


def listed(value: Any) -> list[Any]:
    """One or many, as a list."""
    return value if isinstance(value, list) else [value]


def written(resource: Any) -> str:
    """A resource as one string: `${Bucket.Arn}/data/*`, whichever intrinsic says so."""
    if isinstance(resource, str):
        return resource
    if "Ref" in resource:
        return f"${{{resource['Ref']}}}"
    if "Fn::GetAtt" in resource:
        return f"${{{'.'.join(resource['Fn::GetAtt'])}}}"
    return str(resource["Fn::Sub"])


def _granted(role: str, allowed: Iterable[Json]) -> Iterator[Grant]:
    for statement in allowed:
        where = tuple(written(item) for item in listed(statement["Resource"]))
        for action in listed(statement["Action"]):
            yield Grant(role, action, where, "Condition" in statement)


def is_known(action: str) -> bool:
    """Whether AWS has such an action."""
    service, _, name = action.partition(":")
    return name.lower() in _tables().get(service, {}).get("Actions", {})


def takes_resources(action: str) -> bool:
    """Whether AWS lets a policy name the resources of this action."""
    service, _, name = action.partition(":")
    return bool(_tables()[service]["Actions"][name.lower()].get("Resources"))


@cache
def _tables() -> Json:
    """AWS's service authorization reference, as cfn-lint carries it."""
    tables: Json = json.loads(files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text())
    return tables
