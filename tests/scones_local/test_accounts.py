"""Accounts and clients: the number in every ARN, who the caller is, and programs that name an address of AWS."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import a_bucket, job_request, machine, task
from scones_local import cloud

NUMBERS = ("123456789012", "210987654321")


def training_job(clients: Any) -> str:
    """The ARN of a new training job."""
    image = f"{clients.cloud.account}.dkr.ecr.us-east-1.amazonaws.com/scones-image:1"
    request = job_request(a_bucket(clients.s3))
    request["AlgorithmSpecification"]["TrainingImage"] = image
    return str(clients.sagemaker.create_training_job(**request)["TrainingJobArn"])


TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
ARNS: dict[str, Callable[[Any], str]] = {
    "sqs": lambda c: c.sqs.create_queue(QueueName="q")["QueueUrl"],
    "sns": lambda c: c.sns.create_topic(Name="t")["TopicArn"],
    "iam": lambda c: c.iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"],
    "lambda": lambda c: c.new_function().arn,
    "ecr": lambda c: c.ecr.create_repository(repositoryName="scones-r")["repository"]["repositoryUri"],
    "events": lambda c: c.events.put_rule(Name="r", ScheduleExpression="rate(1 hour)")["RuleArn"],
    "quotas": lambda c: c.service_quotas.list_service_quotas(ServiceCode="sagemaker")["Quotas"][0]["QuotaArn"],
    "states": lambda c: machine(c, {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}),
    "training": training_job,
    "sts": lambda c: c.sts.get_caller_identity()["Arn"],
    "stack": lambda c: c.cloudformation.create_stack(
        StackName="s", TemplateBody='{"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}'
    )["StackId"],
}


@pytest.mark.parametrize("service", ARNS)
def test_every_arn_has_the_number_of_the_account(two: list[Any], service: str) -> None:
    """Two clouds at once, the same names in both."""
    arns = [ARNS[service](clients) for clients in two]
    for arn, own, other in zip(arns, NUMBERS, reversed(NUMBERS), strict=True):
        assert own in arn
        assert other not in arn


def test_two_accounts_at_once_are_separate(two: list[Any]) -> None:
    """Buckets, functions and executions of one are not the other's; its ARNs are refused."""
    one, other = two
    bucket = a_bucket(one.s3)
    with pytest.raises(ClientError, match="404"):
        other.s3.head_bucket(Bucket=bucket)
    functions = [each.new_function() for each in two]
    for clients, function in zip(two, functions, strict=True):
        arn = machine(clients, {"StartAt": "Ask", "States": {"Ask": task(function.arn, End=True)}})
        reply = clients.stepfunctions.start_sync_execution(stateMachineArn=arn)
        assert json.loads(reply["output"])["arn"] == function.arn
    arn = machine(other, {"StartAt": "Ask", "States": {"Ask": task(functions[0].arn, End=True)}})
    reply = other.stepfunctions.start_sync_execution(stateMachineArn=arn)
    assert (reply["status"], reply["error"]) == ("FAILED", "Lambda.AWSLambdaException")


@pytest.mark.parametrize("number", ["", "1", "12345678901", "1234567890123", "12345678901a", "\u0661" * 12])
def test_what_is_no_account_is_refused(tmp_path: Path, number: str) -> None:
    """The message says what it must be; nothing is started."""
    with pytest.raises(cloud.InvalidAccount, match="12 digits"):
        cloud.start(tmp_path / "state", account=number)
    assert not (tmp_path / "state").exists()


def test_the_caller_is_an_assumed_role(two: list[Any]) -> None:
    """As SageMaker's SDK wants it; a role that is assumed keeps its own name."""
    for clients, number in zip(two, NUMBERS, strict=True):
        found = clients.sts.get_caller_identity()
        assert found["Arn"] == f"arn:aws:sts::{number}:assumed-role/LocalCloud/local"
        assert found["Account"] == number
        role = {"RoleArn": f"arn:aws:iam::{number}:role/mine", "RoleSessionName": "me"}
        assert clients.sts.assume_role(**role)["AssumedRoleUser"]["Arn"].endswith(f"{number}:assumed-role/mine/me")


def test_the_role_of_the_caller_exists_and_may_do_everything(two: list[Any]) -> None:
    """The SageMaker SDK 3 reads its trust and simulates its policies before it trains."""
    for clients, number in zip(two, NUMBERS, strict=True):
        role = clients.iam.get_role(RoleName="LocalCloud")["Role"]
        assert role["Arn"] == f"arn:aws:iam::{number}:role/LocalCloud"
        trusted = role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"]
        assert {"sagemaker.amazonaws.com", "lambda.amazonaws.com", "states.amazonaws.com"} <= set(trusted)
        actions = ["cloudwatch:PutMetricData", "ecr:GetAuthorizationToken", "s3:GetObject", "iam:PassRole"]
        found = clients.iam.simulate_principal_policy(PolicySourceArn=role["Arn"], ActionNames=actions)
        decisions = {each["EvalActionName"]: each["EvalDecision"] for each in found["EvaluationResults"]}
        assert decisions == dict.fromkeys(actions, "allowed")


WATCH = """
import sys
elsewhere = []
def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] != "127.0.0.1":
        elsewhere.append(arguments[1])
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost"):
        elsewhere.append(arguments[0])
sys.addaudithook(watch)
import boto3, botocore.session
"""
ADDRESSES = {
    "no address": "boto3.client('sts')",
    "the region's address": "boto3.client('sts', endpoint_url='https://sts.us-east-1.amazonaws.com')",
    "the global address": "boto3.client('sts', endpoint_url='https://sts.amazonaws.com')",
    "a session": "boto3.Session().client('sts', endpoint_url='https://sts.us-east-1.amazonaws.com')",
    "China's address": "boto3.client('sts', endpoint_url='https://sts.cn-north-1.amazonaws.com.cn')",
    "an api.aws address": "boto3.client('sts', endpoint_url='https://sts.us-east-1.api.aws')",
    "botocore": "botocore.session.get_session().create_client('sts', endpoint_url='https://sts.us-east-1.amazonaws.com')",
    "a resource": "boto3.resource('s3', endpoint_url='https://s3.us-east-1.amazonaws.com').meta.client",
}


def program(clients: Any, source: str, **variables: str) -> str:
    """What a program prints that runs with the exports of a cloud."""
    environment = {**os.environ, **cloud.exports(clients.cloud), **variables}  # noqa: TID251 - a user's program
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("client", ADDRESSES.values(), ids=ADDRESSES)
def test_no_call_leaves_the_machine(two: list[Any], client: str) -> None:
    """Whatever address a library gives to boto3: connections to anything but 127.0.0.1 are counted, and are none."""
    call = "list_buckets()" if "s3" in client else "get_caller_identity()"
    assert program(two[0], f"{WATCH}\n{client}.{call}\nprint(len(elsewhere), elsewhere)") == "0 []"


def test_an_address_of_the_users_own_is_kept(two: list[Any]) -> None:
    """Only addresses of AWS are replaced."""
    source = f"{WATCH}\nprint(boto3.client('sts', endpoint_url='http://127.0.0.1:9').meta.endpoint_url)"
    assert program(two[0], source) == "http://127.0.0.1:9"


def test_another_sitecustomize_still_runs(two: list[Any], tmp_path: Path) -> None:
    """One of the user's on PYTHONPATH, after ours."""
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.seen = 'yes'\n")
    exports = cloud.exports(two[0].cloud)
    path = os.pathsep.join([exports["PYTHONPATH"], str(tmp_path)])
    assert program(two[0], "print(seen)", PYTHONPATH=path) == "yes"


def test_the_sagemaker_sdk_is_told_to_send_no_telemetry(two: list[Any]) -> None:
    """In the file that its variable names, by its schema; JSON is YAML."""
    settings = json.loads(Path(cloud.exports(two[0].cloud)["SAGEMAKER_USER_CONFIG_OVERRIDE"]).read_text())
    assert settings["SageMaker"]["PythonSDK"]["Modules"]["TelemetryOptOut"] is True


SDK = """
import time
DEFAULT_POLL = 30
class Session:
    def wait_for_endpoint(self, endpoint, poll=DEFAULT_POLL, live_logging=False): return poll
    def logs_for_job(self, job_name, wait=False, poll=10, log_type="All", timeout=None): return poll, wait, log_type
    def upload(self, poll): return poll
    def keyword_only(self, *, poll=7): return poll
"""


def test_the_sagemaker_sdk_asks_every_second(two: list[Any], tmp_path: Path) -> None:
    """The defaults of version 2 alone change: not what a caller gives, and no other default."""
    (tmp_path / "sagemaker").mkdir()
    (tmp_path / "sagemaker" / "__init__.py").write_text("from sagemaker.session import Session\n")
    (tmp_path / "sagemaker" / "session.py").write_text(SDK)
    path = os.pathsep.join([cloud.exports(two[0].cloud)["PYTHONPATH"], str(tmp_path)])
    calls = "s.wait_for_endpoint(1), s.wait_for_endpoint(1, poll=9), s.logs_for_job('a'), s.upload(4), s.keyword_only()"
    source = f"import sagemaker; s = sagemaker.Session(); print({calls})"
    assert program(two[0], source, PYTHONPATH=path) == "1 9 (1, False, 'All') 4 7"
