"""The two policies that whoever runs Scones needs, as `make docs` writes them.

One is for the commands' own calls, read from `scones.aws` and `scones.deployment`; the other for what
CloudFormation does in their name, read from AWS's schemas of the resource types in the template, as cfn-lint carries
them.
"""

import json
import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name

import scones
from scones.deployment.template import template
from scones.domain.naming import ENV_TAG

_SOURCES = [Path(scones.__file__).parent / package for package in ("aws", "deployment")]
_PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag"}
"""Where an action's prefix is not the name that requests are signed for."""
_ACTIONS = {
    "s3:AbortMultipartUpload": ("s3:AbortMultipartUpload",),
    "s3:DeleteObjects": ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "s3:HeadBucket": ("s3:ListBucket",),
    # With a key of the account's own, S3 and DynamoDB use it in the caller's name.
    "s3:GetObject": ("s3:GetObject", "kms:Decrypt"),
    "s3:HeadObject": ("s3:GetObject",),
    "s3:ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
    "s3:ListObjectVersions": ("s3:ListBucketVersions",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "s3:PutObject": ("s3:PutObject", "kms:GenerateDataKey"),
    "budgets:DeleteBudget": ("budgets:ModifyBudget",),
    "budgets:DescribeBudget": ("budgets:ViewBudget",),
    "dynamodb:TransactWriteItems": ("dynamodb:UpdateItem",),
    "sagemaker:CreateModel": ("sagemaker:CreateModel", "iam:PassRole"),
    "sagemaker:CreateTrainingJob": ("sagemaker:CreateTrainingJob", "iam:PassRole"),
    "sts:GetCallerIdentity": (),
}
"""Operations that are no action of the same name, or that need another one besides."""
_ARN = "arn:aws:{}:*:*:{}"
_RESOURCES = {
    "s3": ("arn:aws:s3:::scones-*",),
    "iam": ("arn:aws:iam::*:role/scones-*",),
    "budgets": ("arn:aws:budgets::*:budget/scones-*",),
    "cloudformation": (_ARN.format("cloudformation", "stack/scones-*"),),
    "cloudwatch": (_ARN.format("cloudwatch", "alarm:scones-*"), "arn:aws:cloudwatch::*:dashboard/scones-*"),
    "codebuild": (_ARN.format("codebuild", "project/scones-*"),),
    "dynamodb": (_ARN.format("dynamodb", "table/scones-*"),),
    "ecr": (_ARN.format("ecr", "repository/scones-*"),),
    "events": (_ARN.format("events", "rule/scones-*"),),
    "lambda": (_ARN.format("lambda", "function:scones-*"),),
    "logs": (_ARN.format("logs", "log-group:/aws/*/scones-*"), _ARN.format("logs", "log-group:/aws/sagemaker/*")),
    "sagemaker": (_ARN.format("sagemaker", "*/scones-*"),),
    "sns": (_ARN.format("sns", "scones-*"),),
    "sqs": (_ARN.format("sqs", "scones-*"),),
    "states": tuple(
        _ARN.format("states", f"{kind}:scones-*") for kind in ("stateMachine", "execution", "express", "mapRun")
    ),
}
"""What of each service carries our name; keys of KMS, and what is not listed, have none."""
_UNNAMED = {"application-autoscaling", "kms", "pricing", "servicequotas", "tag"}
"""Services of ours whose resources carry no name that we choose."""
_OURS = {"StringLike": {f"aws:ResourceTag/{ENV_TAG}": "scones-*"}}
"""Of a key only its tag says that it is ours."""
_ANYWHERE = {"cloudwatch:PutMetricData"}
"""What AWS's table gives resources that are not ours to name."""


_UNTOLD = {
    "AWS::CodeBuild::Project": [f"codebuild:{verb}" for verb in ("BatchGetProjects", "CreateProject", "DeleteProject")]
    + ["codebuild:UpdateProject", "iam:PassRole"],
}
"""What types need whose schemas say nothing of it."""


def pages() -> dict[str, str]:
    """Each policy's file name and text."""
    policies = {"commands": _policy(_of_commands()), "stack": _policy(_of_stack())}
    policies["commands"]["Statement"][-1:] = _keys_by_tag(policies["commands"]["Statement"][-1])
    return {f"{name}-policy.json": json.dumps(policy, indent=1) + "\n" for name, policy in policies.items()}


def _keys_by_tag(anywhere: dict[str, Any]) -> list[dict[str, Any]]:
    """Take what is done with keys out of a statement that allows it anywhere; whoever makes a key needs that one."""
    keys = [action for action in anywhere["Action"] if action.startswith("kms:")]
    rest = [action for action in anywhere["Action"] if action not in keys]
    return [{**anywhere, "Sid": "Kms", "Action": keys, "Condition": _OURS}, {**anywhere, "Action": rest}]


def roles() -> list[tuple[str, ...]]:
    """Each role of the template: its name, who takes it on, and what it may do on what, one row a statement."""
    resources: Any = template()["Resources"]
    rows = []
    for name, item in sorted(resources.items()):
        if item["Type"] != "AWS::IAM::Role":
            continue
        (trust,) = item["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        taker = trust["Principal"]["Service"].removesuffix(".amazonaws.com")
        for policy in item["Properties"]["Policies"]:
            for entry in policy["PolicyDocument"]["Statement"]:
                statement = entry["Fn::If"][1] if "Fn::If" in entry else entry
                actions = ", ".join(f"`{action}`" for action in _listed(statement["Action"]))
                where = ", ".join(f"`{_written(resource)}`" for resource in _listed(statement["Resource"]))
                rows.append((name, taker, actions, where + (f", if {entry['Fn::If'][0]}" if "Fn::If" in entry else "")))
    return rows


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _written(resource: str | dict[str, Any]) -> str:
    """A resource as the template names it, without the parts of an ARN that are the same for all."""
    if isinstance(resource, dict):
        resource = str(resource.get("Ref") or resource.get("Fn::Sub") or resource["Fn::GetAtt"][0])
    if resource.startswith("arn:"):
        resource = resource.replace("${AWS::", "").split(":", 5)[5]
    return resource.replace("${Bucket.Arn}", "Bucket").replace("${OrdersTable.Arn}", "OrdersTable")


def _of_commands() -> Iterator[str]:
    """The actions of every operation that a file of these packages names, of the services that are opened for it."""
    session = botocore.session.get_session()
    texts = [path.read_text() for source in _SOURCES for path in sorted(source.glob("*.py"))]
    opened = set(re.findall(r'(?i:client)\((?:settings, )?"([a-z0-9-]+)"', "".join(texts)))
    for text in texts:
        words = set(re.findall(r'"([a-z0-9_-]+)"', text))
        kinds = set(re.findall(r'\._(?:delete|ensure)\("(\w+)"', text))
        composed = {"sagemaker": {f"{verb}_{kind}" for verb in ("delete", "describe") for kind in kinds}}
        for service in opened | words & set(session.get_available_services()):
            model = session.get_service_model(service)
            prefix = _PREFIXES.get(model.signing_name, model.signing_name)
            for operation in model.operation_names:
                if xform_name(operation) in words | composed.get(service, set()):
                    yield from _ACTIONS.get(f"{prefix}:{operation}", (f"{prefix}:{operation}",))


def _of_stack() -> Iterator[str]:
    """What AWS's schemas ask of whoever creates, changes and deletes the template's resources, of our services."""
    resources: Any = template()["Resources"]
    kinds = {item["Type"] for item in resources.values()}
    for path in files("cfnlint.data.schemas.resources").iterdir():
        if path.name.endswith(".json") and (schema := json.loads(path.read_text()))["typeName"] in kinds:
            for handler in schema.get("handlers", {}).values():
                yield from handler.get("permissions", ())
            yield from _UNTOLD.get(schema["typeName"], ())


def _policy(actions: Iterable[str]) -> dict[str, Any]:
    """One statement a service, and one for the actions that cannot be restricted to resources."""
    tables = json.loads(files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text())
    narrow: dict[str, set[str]] = {}
    wide: set[str] = set()
    for action in set(actions):
        service, name = action.split(":", 1)
        known = tables.get(service, {}).get("Actions", {}).get(name.lower())
        if known is None or service not in {*_RESOURCES, *_UNNAMED}:
            continue
        if known.get("Resources") and service in _RESOURCES and action not in _ANYWHERE:
            narrow.setdefault(service, set()).add(action)
        else:
            wide.add(action)
    statements = [
        {
            "Sid": service.capitalize(),
            "Effect": "Allow",
            "Action": sorted(found),
            "Resource": list(_with_objects(service)),
        }
        for service, found in sorted(narrow.items())
    ]
    statements.append({"Sid": "Anywhere", "Effect": "Allow", "Action": sorted(wide), "Resource": "*"})
    return {"Version": "2012-10-17", "Statement": statements}


def _with_objects(service: str) -> Iterator[str]:
    for resource in _RESOURCES[service]:
        yield resource
        if service in ("s3", "dynamodb", "lambda"):
            yield resource + {"s3": "/*", "dynamodb": "/index/*", "lambda": ":*"}[service]
