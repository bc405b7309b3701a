"""The policies for whoever runs Scones, as docs/ has them: their size, and what they allow, by two other programs."""

import json
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conftest import deployed, new_settings
from recording import recording
from scones_local.cloud import Cloud
from tiny_model import noisy_pngs

DOCS = Path(__file__).parents[2] / "docs"
PERMISSIONS: dict[str, Any] = runpy.run_path(str(DOCS / "permissions.py"))
NAMES = sorted(path.name.removesuffix(".json") for path in DOCS.glob("*-policy*.json"))
WITHOUT_KEY = [name for name in NAMES if name != "key-policy"]
FREE = {"sts:GetCallerIdentity"}
SIMULATOR = Path(sys.prefix) / "asl"
PARLIAMENT = Path(sys.prefix) / "checkov" / "bin" / "parliament"
AT_MOST = 10
"""Managed policies that a role or a user may have.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""


def document(name: str) -> dict[str, Any]:
    """One policy."""
    found: dict[str, Any] = json.loads((DOCS / f"{name}.json").read_text())
    return found


def policy(name: str) -> list[dict[str, Any]]:
    """One policy's statements."""
    found: list[dict[str, Any]] = document(name)["Statement"]
    return found


def test_there_are_no_policies_but_the_generated_ones() -> None:
    """One of an earlier version would be attached as well."""
    assert sorted(name.removesuffix(".json") for name in PERMISSIONS["pages"]()) == NAMES
    assert "commands-policy" in NAMES
    assert len(NAMES) <= AT_MOST


@pytest.mark.parametrize("name", NAMES)
def test_each_policy_fits_a_managed_policy(name: str) -> None:
    """IAM counts 6,144 characters, without white space, and refuses more."""
    assert len("".join((DOCS / f"{name}.json").read_text().split())) <= 6144


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_allowed_beyond_our_own_names_but_what_cannot_be_narrowed(name: str) -> None:
    """Every statement says `scones`; of keys, whose names cannot be chosen, by their tag."""
    for statement in policy(name):
        assert not [action for action in statement["Action"] if "*" in action]
        if statement["Sid"] in ("Anywhere", "ApplicationAutoscaling", "ScalingRole"):
            continue
        where = [str(statement["Condition"])] if "Condition" in statement else statement["Resource"]
        assert all("scones-" in resource or "/aws/sagemaker/" in resource for resource in where)


def test_what_is_allowed_on_any_resource_lists_or_names_nothing_of_ours() -> None:
    """A new action among them is to be looked at: these read lists, or have resources without names."""
    wide = {action for name in NAMES for each in policy(name) if each["Sid"] == "Anywhere" for action in each["Action"]}
    changing = {action for action in wide if not action.partition(":")[2].startswith(("List", "Describe", "Get"))}
    assert changing == {
        "cloudformation:BatchDescribeTypeConfigurations",
        "cloudwatch:PutMetricData",
        "logs:CreateLogDelivery",
        "logs:DeleteIndexPolicy",
        "logs:DeleteResourcePolicy",
        "logs:PutIndexPolicy",
        "logs:PutResourcePolicy",
        "sns:SetSubscriptionAttributes",
        "sns:Unsubscribe",
        "states:SendTaskSuccess",
    }


def allowed_actions() -> set[str]:
    """Every action of every policy."""
    return {action for name in NAMES for statement in policy(name) for action in statement["Action"]}


@pytest.mark.parametrize("action", sorted(PERMISSIONS["DEPENDENT"]))
def test_whoever_may_call_it_may_do_what_aws_documents_besides(action: str) -> None:
    """A call that needs another action fails without it, in a real account only."""
    needed, source = PERMISSIONS["DEPENDENT"][action]
    assert source.startswith("https://docs.aws.amazon.com/")
    assert {action, *needed} <= allowed_actions()


class Question(NamedTuple):
    """Whether an action on an ARN of account 123456789012 is allowed, with the request's context."""

    action: str
    resource: str
    allowed: bool
    context: dict[str, str] = {}  # noqa: RUF012 - never changed


def arn(service: str, rest: str, region: str = "eu-west-1", account: str = "123456789012") -> str:
    """An ARN of that account."""
    return f"arn:aws:{service}:{region}:{account}:{rest}"


KEY = arn("kms", "key/1234abcd-12ab-34cd-56ef-1234567890ab")
OUR_KEY, FOREIGN_KEY = {"aws:ResourceTag/scones:env": "scones-dev"}, {"aws:ResourceTag/scones:env": "other"}
SCALED = "sagemaker.application-autoscaling.amazonaws.com"
SCALING_ROLE = f"role/aws-service-role/{SCALED}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
TARGET = arn("application-autoscaling", "scalable-target/0123456789abcdef0123456789abcdef0123")
OURS = {
    "sagemaker:CreateTrainingJob": arn("sagemaker", "training-job/scones-dev--20260101-000000-000000"),
    "sagemaker:CreateModel": arn("sagemaker", "model/scones-dev--0123456789ab"),
    "sagemaker:CreateEndpointConfig": arn("sagemaker", "endpoint-config/scones-dev--0123456789ab"),
    "sagemaker:UpdateEndpoint": arn("sagemaker", "endpoint/scones-dev"),
    "sagemaker:DeleteEndpoint": arn("sagemaker", "endpoint/scones-dev"),
    "sagemaker:InvokeEndpoint": arn("sagemaker", "endpoint/scones-dev"),
    "sagemaker:UpdateEndpointWeightsAndCapacities": arn("sagemaker", "endpoint/scones-dev"),
    "sagemaker:CreateModelPackageGroup": arn("sagemaker", "model-package-group/scones-dev"),
    "sagemaker:DescribeModelPackage": arn("sagemaker", "model-package/scones-dev/1"),
    "cloudformation:CreateChangeSet": arn("cloudformation", "stack/scones-dev/11111111-2222-3333-4444-555555555555"),
    "cloudformation:DetectStackDrift": arn("cloudformation", "stack/scones-dev/11111111-2222-3333-4444-555555555555"),
    "cloudformation:DetectStackResourceDrift": arn("cloudformation", "stack/scones-dev/11111111-2222-3333-4444-5555"),
    "cloudwatch:PutMetricAlarm": arn("cloudwatch", "alarm:scones-dev-endpoint-errors"),
    "codebuild:StartBuild": arn("codebuild", "project/scones-dev-image"),
    "codebuild:CreateProject": arn("codebuild", "project/scones-dev-image"),
    "dynamodb:UpdateItem": arn("dynamodb", "table/scones-dev-orders"),
    "dynamodb:Query": arn("dynamodb", "table/scones-dev-orders/index/by_status"),
    "dynamodb:CreateTable": arn("dynamodb", "table/scones-dev-orders"),
    "ecr:SetRepositoryPolicy": arn("ecr", "repository/scones-dev"),
    "events:PutTargets": arn("events", "rule/scones-dev-uploads"),
    "iam:PassRole": arn("iam", "role/scones-dev-TrainingRole-ABC", region=""),
    "iam:CreateRole": arn("iam", "role/scones-dev-TrainingRole-ABC", region=""),
    "lambda:CreateFunction": arn("lambda", "function:scones-dev-classify"),
    "lambda:UpdateAlias": arn("lambda", "function:scones-dev-classify"),
    "logs:PutRetentionPolicy": arn("logs", "log-group:/aws/vendedlogs/states/scones-dev-workflow"),
    "s3:CreateBucket": "arn:aws:s3:::scones-dev-123456789012-eu-west-1",
    "s3:PutObject": "arn:aws:s3:::scones-dev-123456789012-eu-west-1/data/photo.png",
    "s3:PutLifecycleConfiguration": "arn:aws:s3:::scones-dev-123456789012-eu-west-1",
    "sns:Publish": arn("sns", "scones-dev-alerts"),
    "sns:CreateTopic": arn("sns", "scones-dev-alerts"),
    "sqs:CreateQueue": arn("sqs", "scones-dev-lost-calls"),
    "states:StartSyncExecution": arn("states", "stateMachine:scones-dev"),
    "states:CreateStateMachine": arn("states", "stateMachine:scones-dev"),
}
"""One resource of ours for each of these actions; the same ARN with another name is not ours."""
QUESTIONS = [
    *(Question(action, resource, allowed=True) for action, resource in OURS.items()),
    *(Question(action, resource.replace("scones-dev", "payroll"), allowed=False) for action, resource in OURS.items()),
    Question("iam:CreateServiceLinkedRole", arn("iam", SCALING_ROLE, region=""), True, {"iam:AWSServiceName": SCALED}),
    Question(
        "iam:CreateServiceLinkedRole",
        arn("iam", "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS", region=""),
        allowed=False,
        context={"iam:AWSServiceName": "ecs.amazonaws.com"},
    ),
    *(
        Question(f"application-autoscaling:{verb}", TARGET, allowed=True)
        for verb in ("RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy")
    ),
    *(
        Question(f"cloudwatch:{verb}", arn("cloudwatch", f"alarm:TargetTracking-endpoint/{name}/1"), name != "payroll")
        for verb in ("PutMetricAlarm", "DeleteAlarms")
        for name in ("scones-dev/variant/AllTraffic-AlarmHigh", "payroll")
    ),
    Question("cloudformation:BatchDescribeTypeConfigurations", "*", allowed=True),
    Question("cloudwatch:DescribeAlarms", arn("cloudwatch", "alarm:any"), allowed=True),
    Question("sagemaker:ListModelPackages", "*", allowed=True),
    Question("servicequotas:ListServiceQuotas", "*", allowed=True),
    *(
        Question(f"kms:{verb}", KEY, context is OUR_KEY, context)
        for verb in ("Decrypt", "GenerateDataKey", "CreateGrant", "PutKeyPolicy", "ScheduleKeyDeletion", "DescribeKey")
        for context in (OUR_KEY, FOREIGN_KEY, {})
    ),
    Question("kms:CreateKey", "*", True, {"aws:RequestTag/scones:env": "scones-dev"}),
    Question("kms:CreateKey", "*", allowed=False),
]


def simulate(policies: list[str], questions: list[Question]) -> list[str]:
    """What the simulator answers to each question."""
    node = shutil.which("node")
    if not node or not (SIMULATOR / "node_modules" / "@cloud-copilot").is_dir():
        pytest.skip("iam-simulate is not installed; `make setup` does it where npm is")
    asked = {"policies": [document(name) for name in policies], "questions": [each._asdict() for each in questions]}
    command: list[str | Path] = [node, Path(__file__).with_name("simulate.mjs"), SIMULATOR / "node_modules"]
    found = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    answers: list[str] = json.loads(found.stdout)
    return answers


def test_a_simulator_of_iam_finds_ours_allowed_and_all_else_denied() -> None:
    """The table above, with every policy attached: each call on our resource, and the same call on a foreign one."""
    wanted = ["Allowed" if question.allowed else "ImplicitlyDenied" for question in QUESTIONS]
    found = simulate(NAMES, QUESTIONS)
    assert [
        (*q[:2], answer) for q, answer, right in zip(QUESTIONS, found, wanted, strict=True) if answer != right
    ] == []


def test_without_the_key_s_policy_no_key_may_be_used_at_all() -> None:
    """Only an environment with `kms = "yes"` needs it."""
    asked = [question for question in QUESTIONS if question.action.startswith("kms:")]
    assert set(simulate(WITHOUT_KEY, asked)) == {"ImplicitlyDenied"}


UNKNOWN_TO_PARLIAMENT = "UNKNOWN_ACTION"
"""Its table of actions is of 2024; cfn-lint's, which the policies are made of, is newer."""


@pytest.mark.parametrize("name", NAMES)
def test_parliament_finds_nothing(name: str) -> None:
    """No malformed statement, no action that none of its resources fits, no bad condition."""
    if not PARLIAMENT.exists():
        pytest.skip("parliament is not installed; `make test-slow` does it where the network allows")
    text = (DOCS / f"{name}.json").read_text()
    found = subprocess.run([PARLIAMENT, "--json"], input=text, capture_output=True, text=True, check=False)
    findings = [json.loads(line) for line in found.stdout.splitlines()]
    reasons = PERMISSIONS["_ANYWHERE"].keys()
    explained = [each for each in findings if each["issue"] == "RESOURCE_STAR" and set(each["detail"]) <= reasons]
    rest = [each for each in findings if each not in explained]
    assert [each for each in rest if each["issue"] != UNKNOWN_TO_PARLIAMENT] == []


@pytest.mark.slow
def test_the_commands_call_nothing_that_their_policy_does_not_allow(
    cloud: Cloud, tmp_path: Path, tiny_model: bytes
) -> None:
    """From the foundation to the last of it, each call is one that the policy names."""
    with recording(cloud.port) as recorder:
        flow = deployed(replace(new_settings(cloud, tmp_path), endpoint_url=recorder.url), tiny_model)
        try:
            flow.classify_samples([flow.upload(f"{n}.png", photo) for n, photo in enumerate(noisy_pngs(30, seed=1))])
            flow.classify_batch(flow.aws.bucket.uri("asked/"))
            flow.monitor(at_least=30)
            flow.status()
        finally:
            flow.down()
    called = {call.action for call in recorder.calls}
    assert len(called) > 30
    assert recorder.faults == []
    assert called - FREE - {action for each in policy("commands-policy") for action in each["Action"]} == set()
