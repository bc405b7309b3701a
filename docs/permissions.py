"""The policies that whoever runs Scones needs, as `make docs` writes them, each short enough for a managed policy.

`commands-policy.json` has the commands' own calls, read from `scones.aws` and `scones.deployment`, and what AWS
documents that these calls need besides. `stack-policy-*.json` has what CloudFormation does in the caller's name, read
from AWS's schemas of the resource types in the template, as cfn-lint carries them. `key-policy.json` has what both do
with the key of `kms = "yes"`.
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
    # With a key of the account's own, S3 uses it in the caller's name.
    "s3:GetObject": ("s3:GetObject", "kms:Decrypt"),
    "s3:HeadObject": ("s3:GetObject",),
    "s3:ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
    "s3:ListObjectVersions": ("s3:ListBucketVersions",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "s3:PutObject": ("s3:PutObject", "kms:GenerateDataKey"),
    "budgets:DeleteBudget": ("budgets:ModifyBudget",),
    "budgets:DescribeBudget": ("budgets:ViewBudget",),
    "dynamodb:TransactWriteItems": ("dynamodb:UpdateItem",),
    "lambda:Invoke": ("lambda:InvokeFunction",),
    "sagemaker:CreateModel": ("sagemaker:CreateModel", "iam:PassRole"),
    "sagemaker:CreateTrainingJob": ("sagemaker:CreateTrainingJob", "iam:PassRole"),
    "sts:GetCallerIdentity": (),
}
"""Operations that are no action of the same name, or that need another one besides."""
_ARN = "arn:aws:{}:*:*:{}"
_RESOURCES = {
    "s3": ("arn:aws:s3:::scones-*",),
    # AWS names the target of a scaled endpoint by itself.
    "application-autoscaling": (_ARN.format("application-autoscaling", "scalable-target/*"),),
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
    "sagemaker": tuple(
        _ARN.format("sagemaker", f"{kind}/scones-*")
        for kind in ("endpoint", "endpoint-config", "model", "model-package", "model-package-group", "training-job")
    ),
    "sns": (_ARN.format("sns", "scones-*"),),
    "sqs": (_ARN.format("sqs", "scones-*"),),
    "states": tuple(
        _ARN.format("states", f"{kind}:scones-*") for kind in ("stateMachine", "execution", "express", "mapRun")
    ),
}
"""What of each service carries our name, with all that is in it; keys of KMS, and what is not listed, have none."""
_UNNAMED = {"kms", "pricing", "servicequotas", "tag"}
"""Services of ours whose resources carry no name that we choose."""
_KINDS = {"iam": {"role"}, "s3": {"bucket", "object"}, "lambda": {"function", "function alias", "function version"}}
"""Of services with many kinds of resources, those that we have: AWS's schemas name actions for others, too."""
_ANYWHERE = {
    "cloudwatch:PutMetricData": "AWS's table gives it resources that are not ours to name",
    "cloudwatch:DescribeAlarms": "Application Auto Scaling looks for its alarms; AWS's own policy allows it anywhere",
    "sagemaker:ListModelPackages": "a list names no package",
    "sns:GetSubscriptionAttributes": "a subscription's name is AWS's",
    "sns:SetSubscriptionAttributes": "a subscription's name is AWS's",
    "sns:Unsubscribe": "a subscription's name is AWS's",
}
"""Actions that are allowed on any resource although AWS's table lists some, with the reason."""
_OTHERS = {"sagemaker:DeleteProject": "CodeBuild's call of that name is meant"}
"""Actions of which another service has one of the same name."""

_UNTOLD = {
    "AWS::CodeBuild::Project": [f"codebuild:{verb}" for verb in ("BatchGetProjects", "CreateProject", "DeleteProject")]
    + ["codebuild:UpdateProject", "iam:PassRole"],
}
"""What types need whose schemas say nothing of it."""

_SCALING_ALARMS = (_ARN.format("cloudwatch", "alarm:TargetTracking-endpoint/scones-*"),)
_SCALING_SERVICE = "sagemaker.application-autoscaling.amazonaws.com*"
_SCALING_ROLE = (
    f"arn:aws:iam::*:role/aws-service-role/{_SCALING_SERVICE}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
)
_AUTOSCALING_GUIDE = "https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html"
_SAGEMAKER_GUIDE = "https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html"
DEPENDENT: dict[str, tuple[tuple[str, ...], str]] = {
    "application-autoscaling:RegisterScalableTarget": (
        (
            "iam:CreateServiceLinkedRole",
            "sagemaker:DescribeEndpoint",
            "sagemaker:DescribeEndpointConfig",
            "sagemaker:UpdateEndpointWeightsAndCapacities",
        ),
        _AUTOSCALING_GUIDE,
    ),
    "application-autoscaling:PutScalingPolicy": (
        ("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"),
        _AUTOSCALING_GUIDE,
    ),
    "application-autoscaling:DeregisterScalableTarget": (
        ("cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"),
        _AUTOSCALING_GUIDE,
    ),
    "sagemaker:DeleteEndpoint": (
        ("application-autoscaling:DeregisterScalableTarget",),
        "https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-delete-with-scaling.html",
    ),
    "sagemaker:CreateEndpoint": (("sagemaker:AddTags", "kms:CreateGrant", "kms:DescribeKey"), _SAGEMAKER_GUIDE),
    "sagemaker:UpdateEndpoint": (("kms:CreateGrant", "kms:DescribeKey"), _SAGEMAKER_GUIDE),
    "sagemaker:CreateEndpointConfig": (("sagemaker:AddTags", "kms:DescribeKey"), _SAGEMAKER_GUIDE),
    "sagemaker:CreateModel": (("iam:PassRole", "sagemaker:AddTags"), _SAGEMAKER_GUIDE),
    "sagemaker:CreateModelPackageGroup": (("sagemaker:AddTags",), _SAGEMAKER_GUIDE),
    "sagemaker:CreateTrainingJob": (
        ("iam:PassRole", "sagemaker:AddTags", "kms:CreateGrant", "kms:DescribeKey"),
        _SAGEMAKER_GUIDE,
    ),
    "cloudformation:CreateChangeSet": (
        ("cloudformation:TagResource", "s3:GetObject"),
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudformation.html",
    ),
    "cloudformation:DetectStackDrift": (
        ("cloudformation:DetectStackResourceDrift", "cloudformation:BatchDescribeTypeConfigurations"),
        "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html",
    ),
    "lambda:CreateFunction": (
        ("iam:PassRole", "s3:GetObject", "ecr:GetRepositoryPolicy", "ecr:SetRepositoryPolicy"),
        "https://docs.aws.amazon.com/lambda/latest/dg/images-create.html",
    ),
    "states:CreateStateMachine": (
        ("iam:PassRole",),
        "https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html",
    ),
    "codebuild:CreateProject": (
        ("iam:PassRole",),
        "https://docs.aws.amazon.com/codebuild/latest/userguide/auth-and-access-control-iam-identity-based-access-control.html",
    ),
    "events:PutTargets": (
        ("iam:PassRole",),
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html",
    ),
}
"""What AWS documents that a call needs of its caller besides the action of its own name, and where."""

MAX_CHARACTERS = 6144
"""What a managed policy may have, without white space.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""
_TAG = f"aws:ResourceTag/{ENV_TAG}"
_NEW_TAG = f"aws:RequestTag/{ENV_TAG}"


def pages() -> dict[str, str]:
    """Each policy's file name and text."""
    commands, stack = _with_dependents(_of_commands()), _with_dependents(_of_stack())
    keys = {action for action in commands | stack if action.startswith("kms:")}
    parts = _parts(_statements(stack - commands - keys))
    policies = {
        "commands-policy": [*_statements(commands - keys), *_scaling()],
        **{f"stack-policy-{number}": part for number, part in enumerate(parts, start=1)},
        "key-policy": _of_keys(keys),
    }
    return {f"{name}.json": json.dumps(_document(found), indent=1) + "\n" for name, found in policies.items()}


def _with_dependents(actions: Iterable[str]) -> set[str]:
    found = set(actions) - _OTHERS.keys()
    more = {action for each in found for action in DEPENDENT.get(each, ((), ""))[0]}
    # They are allowed on other resources than ours.
    return found | more - {"iam:CreateServiceLinkedRole"}


def _scaling() -> list[dict[str, Any]]:
    """What a scaled endpoint takes: alarms that Application Auto Scaling names, and its role, once an account."""
    alarms = ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm"]
    service = {"StringLike": {"iam:AWSServiceName": _SCALING_SERVICE}}
    return [
        _statement("ScalingAlarms", alarms, _SCALING_ALARMS),
        {**_statement("ScalingRole", ["iam:CreateServiceLinkedRole"], _SCALING_ROLE), "Condition": service},
    ]


def _of_keys(actions: set[str]) -> list[dict[str, Any]]:
    """A key has no name that we choose: it is ours by its tag, which it is created with."""
    lists, keys = {"kms:ListKeys", "kms:ListAliases"}, (_ARN.format("kms", "key/*"),)
    known = sorted(actions - lists - {"kms:CreateKey", "kms:TagResource"})
    ours, new = {"StringLike": {_TAG: "scones-*"}}, {"StringLike": {_NEW_TAG: "scones-*"}}
    return [
        {**_statement("OurKeys", known, keys), "Condition": ours},
        {**_statement("CreateKeys", ["kms:CreateKey"], ["*"]), "Condition": new},
        {**_statement("TagNewKeys", ["kms:TagResource"], keys), "Condition": new},
    ]


def _parts(statements: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The statements in their order, in as few policies as hold them."""
    parts: list[list[dict[str, Any]]] = [[]]
    for each in statements:
        if size(_document([*parts[-1], each])) > MAX_CHARACTERS:
            parts.append([])
        parts[-1].append(each)
    return parts


def size(policy: dict[str, Any]) -> int:
    """A policy's characters as IAM counts them."""
    return len("".join(json.dumps(policy).split()))


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(name: str, actions: list[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": list(resources)}


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


def _statements(actions: Iterable[str]) -> list[dict[str, Any]]:
    """One statement a service, and one for the actions that cannot be restricted to resources."""
    tables = json.loads(files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text())
    narrow: dict[str, set[str]] = {}
    wide: set[str] = set()
    for action in set(actions):
        service, name = action.split(":", 1)
        known = tables.get(service, {}).get("Actions", {}).get(name.lower())
        if known is None or service not in {*_RESOURCES, *_UNNAMED}:
            continue
        kinds = set(known.get("Resources", ()))
        if kinds and not kinds & _KINDS.get(service, kinds):
            continue
        if kinds and service in _RESOURCES and action not in _ANYWHERE:
            narrow.setdefault(service, set()).add(action)
        else:
            wide.add(action)
    statements = [
        _statement(service.title().replace("-", ""), sorted(found), _RESOURCES[service])
        for service, found in sorted(narrow.items())
    ]
    return [*statements, *([_statement("Anywhere", sorted(wide), ["*"])] if wide else [])]
