"""What each role allows is what its code calls: nothing is missing, and nothing is spare."""

import json
import re
import runpy
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from access_keys import KEYS
from conftest import deployed, new_settings, stage_test_photos
from infra.policies import Grant, grants, key_grants, resources
from recording import Call, Recorder, recording
from scones.aws.client import Client
from scones.data.decode import darken_and_blur
from scones.deployment.template import state_machine, template
from scones.dispatch.order_book import open_order
from scones.dispatch.orders import Order, Place
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud
from tiny_model import noisy_pngs, plain_photo

BY_AWS = {
    "logs:CreateLogStream": "Lambda writes what a function prints with the function's role",
    "logs:PutLogEvents": "Lambda writes what a function prints with the function's role",
    "sqs:SendMessage": "Lambda hands over what a scheduled function failed at with the function's role",
    "cloudwatch:DeleteAlarms": "Application Auto Scaling removes a policy's alarms with the role of whoever removes it",
    "cloudwatch:DescribeAlarms": "Application Auto Scaling looks at these alarms in the same way",
    "xray:PutTraceSegments": "Lambda sends its traces with the function's role",
    "xray:PutTelemetryRecords": "Lambda sends its traces with the function's role",
    "kms:Decrypt": "S3, SQS, SNS and Lambda use the key with the role of whoever calls them",
    "kms:GenerateDataKey": "S3, SQS, SNS and Lambda use the key with the role of whoever calls them",
}
"""What AWS does by a function's role beside the function's own calls."""
SPARE = {
    ("ClassifyBatchRole", "${PhotoBucket}/*"): "the other bucket of the setting photo_bucket",
    ("ClassifyBatchRole", "${Bucket.Arn}/incoming/*"): "photos uploaded, asked about once more in bulk",
    ("ClassifyBatchRole", "${Bucket.Arn}/data/*"): "staged photos, asked about in bulk",
    ("ClassifyBatchRole", "${Bucket.Arn}"): "no call: without it S3 says of a missing photo that it is forbidden",
    ("SerializeRole", "${Bucket.Arn}/incoming/*"): "photos uploaded, by the same call",
    ("SerializeRole", "${Bucket.Arn}/data/*"): "staged photos, by the same call",
    ("ClassifyRole", "${Bucket.Arn}/incoming/*"): "photos uploaded, by the same call",
    ("ClassifyRole", "${Bucket.Arn}/data/*"): "staged photos, by the same call",
}
"""Resources that these tests do not touch, though the code does."""
FREE = {"sts:GetCallerIdentity": "whoever has credentials may ask whose they are"}
"""Actions for which AWS asks no permission."""
TOWN = 71_000.0


@dataclass(frozen=True)
class Recorded:
    """What the functions called, and the names under which the stack's resources stand."""

    calls: frozenset[Call]
    names: Mapping[str, str]
    faults: tuple[str, ...] = ()

    def matches(self, call: Call, pattern: str) -> bool:
        """Whether a call's resource is one of those that a policy names."""
        return not call.resource or fnmatchcase(call.resource, self._plain(pattern))

    def _plain(self, pattern: str) -> str:
        """A resource of the template, as it is in this environment, without `arn:aws:...:`."""
        pattern = re.sub(r"\$\{AWS::\w+\}", "", pattern)
        if pattern.startswith("arn:"):
            pattern = pattern.split(":", 5)[5]
        return re.sub(r"\$\{([\w:.]+)\}", lambda found: self.names.get(found[1], "?"), pattern)


@pytest.fixture(scope="module")
def recorded(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes) -> Iterator[Recorded]:
    """Every function at work, each with an access key named after its role, so that its calls can be told apart."""
    flow = deployed(new_settings(cloud, tmp_path_factory.mktemp("iam")), tiny_model)
    try:
        with recording(cloud.port) as recorder:
            record(flow, recorder)
            work(flow)
            yield Recorded(frozenset(recorder.calls), names(flow), tuple(recorder.faults))
    finally:
        flow.down()


def record(flow: Pipeline, recorder: Recorder, capture: str = "yes") -> None:
    """Have all functions call through the recorder, and say whether they capture; nothing else of them is changed."""
    stack: Any = template()
    for function in stack["Resources"].values():
        if function["Type"] == "AWS::Lambda::Function":
            variables = function["Properties"]["Environment"]["Variables"]
            key = function["Properties"]["Role"]["Fn::GetAtt"][0]
            variables |= {"AWS_ENDPOINT_URL": recorder.url, "AWS_ACCESS_KEY_ID": key}
    standing = flow.aws.stack.find()
    assert standing
    changed = {"FunctionRelease": "recorded", "FunctionCapture": capture, "EndpointHours": "1"}
    flow.aws.stack.deploy(stack, {**standing.parameters, **changed}, lambda _: None)


def work(flow: Pipeline) -> None:
    """Every way through the workflow, a run over many photos, looks of the monitor, and the end of the endpoint."""
    pickup, dropoff = Place(TOWN, 0.1), Place(TOWN, 8.0)
    flow.aws.tables.orders.put_all([open_order(Order("o-1", pickup, dropoff, 10.0, 3e7, 3e7 + 60))])
    courier = {"id": "c-1", "x_km": TOWN, "y_km": 0.0, "capacity": 1}
    sure = plain_photo(220)
    for photo in (sure, sure, plain_photo(130), sure + bytes(300_000), b"no photo"):
        send(flow, photo, courier)
    flow.aws.bucket.put("asked/many/one.png", sure)
    flow.classify_batch(flow.aws.bucket.uri("asked/many/"))
    stage_test_photos(flow)
    flow.aws.metrics.enable_alarm(f"{flow.aws.name}-silence")
    look(flow)
    flow.classify_samples([flow.upload(f"{n}.png", darken_and_blur(p)) for n, p in enumerate(noisy_pngs(40, seed=3))])
    deadline = time.monotonic() + 60
    while not look(flow)["alarms"]:
        assert time.monotonic() < deadline
    sagemaker = Client(flow.settings, "sagemaker", KEYS)
    arn = sagemaker.call("describe_endpoint", EndpointName=flow.aws.name)["EndpointArn"]
    flow.aws.sagemaker.tag(arn, {"scones:expires": "2026-01-01T00:00:00+00:00"})
    assert call(flow, "reap")["outcome"] == "deleted"


def send(flow: Pipeline, photo: bytes, courier: object) -> None:
    """Send one photo through the workflow, whatever becomes of it."""
    sample = flow.upload("photo.png", photo)
    event = {"image_data": "", "s3_bucket": flow.aws.bucket.name, "s3_key": sample.key, "inferences": []}
    arn = flow.aws.stack.find_output("WorkflowArn")
    flow.aws.workflow.run(arn, uuid.uuid4().hex, {**event, "courier": courier})


def look(flow: Pipeline) -> dict[str, Any]:
    """Have the scheduled monitor look."""
    return call(flow, "monitor")


def call(flow: Pipeline, function: str) -> dict[str, Any]:
    """Call one function by hand; it must not fail."""
    name = f"{flow.aws.name}-{function}"
    reply = Client(flow.settings, "lambda", KEYS).call("invoke", FunctionName=name, Payload=b"{}")
    found: dict[str, Any] = json.loads(reply["Payload"].read())
    assert "FunctionError" not in reply, found
    return found


def names(flow: Pipeline) -> dict[str, str]:
    """What the template's references stand for, as calls name it."""
    client = Client(flow.settings, "cloudformation", KEYS)
    found = {"Env": flow.settings.env}
    for item in client.call("describe_stack_resources", StackName=flow.aws.name)["StackResources"]:
        logical, physical = item["LogicalResourceId"], item["PhysicalResourceId"]
        plain = {"AWS::DynamoDB::Table": f"table/{physical}"}.get(item["ResourceType"], physical.rpartition(":")[2])
        found |= {logical: plain, f"{logical}.Arn": plain}
    return found


def of_functions() -> list[Grant]:
    """What the functions' own roles allow, but for the retraining's, which this environment does not have."""
    functions = [it for it in resources("AWS::Lambda::Function").values() if it["Condition"] != "WithRetrain"]
    roles = {item["Properties"]["Role"]["Fn::GetAtt"][0] for item in functions}
    assert len(roles) == len(functions)
    return [grant for grant in grants() if grant.role in roles]


@pytest.mark.slow
def test_no_function_calls_what_its_role_does_not_allow(recorded: Recorded) -> None:
    """On AWS that call would fail, and no test would have shown it."""
    forbidden = {
        call
        for call in recorded.calls
        if call.action not in FREE
        if not any(
            grant.role == call.who
            and grant.action == call.action
            and any(recorded.matches(call, pattern) for pattern in grant.resources)
            for grant in of_functions()
        )
    }
    assert sorted(forbidden) == []
    # The test is no formality: all were at work, but for the two that call nothing of AWS's.
    idle = {grant.role for grant in of_functions()} - {call.who for call in recorded.calls}
    assert idle == {"FilterRole", "NotifyRole"}


@pytest.mark.slow
def test_the_functions_requests_have_the_form_that_aws_documents(recorded: Recorded) -> None:
    """Members, types, lengths, patterns and enumerations of every request with a JSON body, such as DynamoDB's."""
    assert {call.action.partition(":")[0] for call in recorded.calls} >= {"dynamodb", "sagemaker", "s3"}
    assert recorded.faults == ()


@pytest.mark.slow
def test_no_role_allows_what_its_function_does_not_call(recorded: Recorded) -> None:
    """Whoever took over a function could do no more than the function does; each exception has its reason."""
    spare = {
        (grant.role, grant.action, pattern)
        for grant in of_functions()
        for pattern in grant.resources
        if grant.action not in BY_AWS and (grant.role, pattern.removeprefix("arn:${AWS::Partition}:s3:::")) not in SPARE
        if not any(
            call.who == grant.role and call.action == grant.action and recorded.matches(call, pattern)
            for call in recorded.calls
        )
    }
    assert sorted(spare) == []


def test_a_role_may_do_what_aws_documents_besides_each_of_its_actions() -> None:
    """Without DeregisterScalableTarget, say, a scaled endpoint is not deleted; the local cloud asks for neither."""
    dependent = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "permissions.py"))["DEPENDENT"]
    allowed = {(grant.role, grant.action) for grant in grants()}
    checked = [(role, action) for role, action in allowed if action in dependent]
    assert ("ReapRole", "sagemaker:DeleteEndpoint") in checked
    assert [
        (role, need) for role, action in checked for need in dependent[action][0] if (role, need) not in allowed
    ] == []


INTEGRATIONS = {
    "arn:aws:states:::lambda:invoke": "lambda:InvokeFunction",
    "arn:aws:states:::sns:publish": "sns:Publish",
    "arn:aws:states:::dynamodb:updateItem": "dynamodb:UpdateItem",
    "arn:aws:states:::s3:getObject": "s3:GetObject",
    "arn:aws:states:::s3:putObject": "s3:PutObject",
    "arn:aws:states:::lambda:invoke.waitForTaskToken": "lambda:InvokeFunction",
    "arn:aws:states:::sagemaker:createTrainingJob.sync": "sagemaker:CreateTrainingJob",
}
_LOGS = ("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries")
OF_LOGS = {f"logs:{name}" for name in (*_LOGS, "PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups")}
OF_TRACES = {f"xray:{name}" for name in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules")}
OF_TRACES |= {"xray:GetSamplingTargets"}
OF_MAPS = {"states:StartExecution", "states:DescribeExecution", "states:StopExecution"}
OF_MAPS |= {"s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"}
OF_JOBS = {f"sagemaker:{name}" for name in ("AddTags", "DescribeTrainingJob", "StopTrainingJob")}
OF_JOBS |= {f"events:{name}" for name in ("DescribeRule", "PutRule", "PutTargets")} | {"iam:PassRole"}
# Whoever starts a job whose disk a key encrypts lets SageMaker use that key.
OF_JOBS |= {f"kms:{name}" for name in ("CreateGrant", "Decrypt", "DescribeKey", "GenerateDataKey")}


@pytest.mark.parametrize(
    ("role", "machine", "besides"),
    [
        ("WorkflowRole", "classify.asl.json", OF_LOGS | OF_TRACES),
        ("BatchRole", "batch.asl.json", OF_LOGS | OF_TRACES | OF_MAPS),
        ("RetrainWorkflowRole", "retrain.asl.json", OF_LOGS | OF_TRACES | OF_JOBS),
    ],
)
def test_a_state_machine_may_do_what_its_states_say(role: str, machine: str, besides: set[str]) -> None:
    """Its tasks name the actions; the rest is what AWS's documents ask for logs, a Distributed Map and jobs."""
    tasks = set(re.findall(r'"Resource": "([^"]+)"', json.dumps(state_machine(machine))))
    allowed = {grant.action for grant in grants() if grant.role == role}
    assert allowed == {INTEGRATIONS[task] for task in tasks} | besides


BY_SAGEMAKER = {
    "s3:ListBucket": "lists the channels",
    "s3:GetObject": "reads the channels, and the model",
    "s3:PutObject": "writes the model, checkpoints and the capture",
    "ecr:BatchCheckLayerAvailability": "pulls the image",
    "ecr:BatchGetImage": "pulls the image",
    "ecr:GetDownloadUrlForLayer": "pulls the image",
    "ecr:GetAuthorizationToken": "pulls the image",
    "logs:CreateLogGroup": "writes what the container prints",
    "logs:CreateLogStream": "writes what the container prints",
    "logs:DescribeLogStreams": "writes what the container prints",
    "logs:PutLogEvents": "writes what the container prints",
    "cloudwatch:PutMetricData": "publishes the metrics of the job and of the endpoint",
    "cloudwatch:DescribeAlarms": "looks at the alarm while it updates the endpoint",
}
"""What SageMaker itself does by its roles; our containers call nothing."""


def test_sagemakers_roles_allow_what_sagemaker_does_for_us() -> None:
    """Each action has its reason, and there are no others."""
    allowed = {grant.action for grant in grants() if grant.role in ("TrainingRole", "HostingRole")}
    assert allowed == set(BY_SAGEMAKER)


BY_CODEBUILD = {
    "s3:GetObject": "downloads the source",
    "s3:GetObjectVersion": "downloads the source",
    "s3:GetBucketAcl": "checks who owns the bucket of the source",
    "s3:GetBucketLocation": "finds the region of the bucket of the source",
}
"""What CodeBuild does in S3 by a build's role.

Source: https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
"""


def test_the_build_s_role_allows_what_codebuild_does_in_s3() -> None:
    """The local cloud reads the source without the role."""
    allowed = {grant.action for grant in grants() if grant.role == "ImageRole" and grant.action.startswith("s3:")}
    assert allowed == set(BY_CODEBUILD)


def test_a_training_job_may_publish_its_metrics() -> None:
    """SageMaker publishes those of the log with the job's role; without it they are lost in silence."""
    (metrics,) = [g for g in grants() if (g.role, g.action) == ("TrainingRole", "cloudwatch:PutMetricData")]
    assert metrics.conditional


WITH_THE_KEY = {
    "kms:CreateGrant": "lets the disks of its instances be encrypted",
    "kms:Decrypt": "reads photos, models and checkpoints; S3 asks for it for uploads in parts, too",
    "kms:DescribeKey": "looks at the key before it encrypts a disk",
    "kms:Encrypt": "what AWS asks of a role whose training job names a key for its model",
    "kms:GenerateDataKey": "writes the model, checkpoints and the capture",
}
"""What SageMaker does with a key by its roles: AWS's documents' word."""


def test_sagemakers_roles_may_use_a_key_for_all_that_they_write() -> None:
    """Training and hosting alike; no other role may make grants, or encrypt by itself."""
    by_role = {role: {action for one, action in key_grants() if one == role} for role, _ in key_grants()}
    assert by_role.pop("TrainingRole") == by_role.pop("HostingRole") == set(WITH_THE_KEY)
    assert {action for actions in by_role.values() for action in actions} == {"kms:Decrypt", "kms:GenerateDataKey"}
