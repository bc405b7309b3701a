"""What comes back in place of a good reply, over real connections: each is one line, and retried where that helps."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from access_keys import KEYS
from aws_calls import a_bucket, boto, fresh
from conftest import new_settings
from faulty import Fault, Faulty, Request, before
from scones.aws.client import AwsError, AwsUnreachable, Client, ClockSkewed, CredentialsRefused, PartlyFailed
from scones.aws.dynamodb import Table
from scones.aws.replies import PARTIAL_FAILURES
from scones.aws.s3 import Bucket
from scones.config.settings import Settings
from scones.deployment.cleanup import RESOURCE_KINDS, OwnedResource
from scones_local.cloud import Cloud

SOURCE = Path(__file__).parents[2] / "src" / "scones"
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head>\x1b[31m<body>" + b"Please sign in. " * 500
# Members of replies that look like partial failures, and are none.
NO_FAILURES = {
    "invoke": "FunctionError is that of the function, which raises FunctionFailed",
    "describe_training_job": "FailureReason is that of the job, which the reply describes",
    "describe_endpoint": "FailureReason is that of the endpoint",
    "describe_change_set": "OnStackFailure is an option",
    "describe_map_run": "the batch's results say which items failed",
    "start_sync_execution": "error is that of the execution, which `ExecutionResult` has",
    "describe_execution": "error is that of the execution, which `ExecutionStatus` has",
    "batch_get_builds": "buildsNotFound: `Images.build` raises BuildGone",
    "batch_get_projects": "projectsNotFound: a cleanup asks whether the project exists",
}


def called_operations() -> set[str]:
    """The operations of boto3 that the source names in a call of a client."""
    methods = {"call", "find", "pages", "find_pages", "stream", "call_all", "create"}
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str) and node.func.attr in methods:
                    found.add(first.value)
                elif node.func.attr not in methods and isinstance(node.func.value, ast.Name | ast.Call):
                    # The functions call boto3 itself.
                    found.add(node.func.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found.add(node.func.attr)
    return found


def doubtful_members() -> Iterator[tuple[str, str]]:
    """Each operation in use whose reply has a member named after a failure, with that member."""
    session, used = botocore.session.get_session(), called_operations()
    services = (
        "s3 dynamodb sagemaker sagemaker-runtime stepfunctions cloudformation cloudwatch logs sns sqs ecr kms iam "
        "codebuild events lambda application-autoscaling service-quotas resourcegroupstaggingapi budgets sts"
    )
    for service in services.split():
        model = session.get_service_model(service)
        for name in model.operation_names:
            operation = botocore.xform_name(name)
            shape = model.operation_model(name).output_shape
            if operation in used and shape is not None:
                for member in shape.members:
                    if re.search(r"fail|error|unprocess|reject|notfound|unsuccessful|invalid", member, re.IGNORECASE):
                        yield operation, member


def test_every_operation_whose_reply_may_name_failed_parts_is_checked() -> None:
    """By AWS's own models: an operation in use either raises for failed parts, or its members are no such thing."""
    doubtful = {operation for operation, _ in doubtful_members()}
    assert doubtful - set(PARTIAL_FAILURES) - set(NO_FAILURES) == set()
    assert set(PARTIAL_FAILURES) <= doubtful


@pytest.fixture
def through(cloud: Cloud, tmp_path: Path) -> Iterator[tuple[Faulty, Callable[[str], Client]]]:
    """A server before the cloud, and clients that ask it once, so that no retry of botocore hides a fault."""
    with before(cloud.port) as faulty:
        settings = new_settings(cloud, tmp_path)
        yield faulty, lambda service: Client(at(settings, faulty.url), service, KEYS, attempts=1)


def at(settings: Settings, url: str) -> Settings:
    """The same settings, with another address."""
    return replace(settings, endpoint_url=url)


def not_deleted(*keys: str, code: str = "InternalError") -> Fault:
    """A reply of DeleteObjects that deleted nothing of these."""
    errors = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code><Message>why</Message></Error>" for key in keys)
    body = f'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{errors}</DeleteResult>'
    return Fault("status", 200, body.encode(), operation="?delete", content_type="application/xml")


KEYS_THERE = ("data/train/bicycle/1.png", "data/train/bicycle/2.png", "data/train/motorcycle/1.png")


def test_objects_that_were_not_deleted_are_deleted_by_another_request(
    cloud: Cloud, through: tuple[Faulty, Callable[[str], Client]]
) -> None:
    """S3 deletes some of them and says of others InternalError or SlowDown, in a reply of status 200."""
    faulty, client = through
    s3 = boto(cloud, "s3")
    bucket = Bucket(client("s3"), a_bucket(s3))
    faulty.faults.extend([not_deleted(*KEYS_THERE), not_deleted(*KEYS_THERE, code="SlowDown")])
    bucket.remove(KEYS_THERE)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket.name)
    assert faulty.seen == 3


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState"])
def test_objects_that_cannot_be_deleted_are_an_error_that_names_one(
    cloud: Cloud, through: tuple[Faulty, Callable[[str], Client]], code: str
) -> None:
    """They count as deleted neither when they are removed nor when the bucket is emptied."""
    faulty, client = through
    bucket = Bucket(client("s3"), a_bucket(boto(cloud, "s3")))
    for delete in (lambda: bucket.remove(KEYS_THERE), bucket.empty):
        faulty.faults.append(not_deleted(KEYS_THERE[1], code=code))
        with pytest.raises(
            PartlyFailed, match=rf"s3 delete_objects failed: {code}: why \(1 failed.*{KEYS_THERE[1]}"
        ) as told:
            delete()
        assert "\n" not in str(told.value)


def test_items_that_were_not_written_are_sent_again_at_growing_intervals(
    cloud: Cloud, through: tuple[Faulty, Callable[[str], Client]]
) -> None:
    """DynamoDB returns them as UnprocessedItems; only those are sent again, and none is lost."""
    faulty, client = through
    dynamodb, name = boto(cloud, "dynamodb"), fresh("table")
    key = {"AttributeName": "id", "AttributeType": "S"}
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[key],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    left = [{"PutRequest": {"Item": {"id": {"S": str(number)}}}} for number in (3, 4)]
    busy = Fault("status", 200, json.dumps({"UnprocessedItems": {name: left}}).encode(), operation="BatchWriteItem")
    faulty.faults.extend([busy, busy, busy])
    Table(client("dynamodb"), name).put_all([{"id": str(number)} for number in range(5)])
    # The server swallowed the first request whole, but named two of its items only.
    assert {item["id"]["S"] for item in dynamodb.scan(TableName=name)["Items"]} == {"3", "4"}
    assert faulty.seen == 4


def test_a_table_that_stays_busy_is_an_error(
    through: tuple[Faulty, Callable[[str], Client]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten attempts; the message says what to do."""
    faulty, client = through
    monkeypatch.setattr("scones.aws.client._MAX_PAUSE_SECONDS", 0.01)
    left = [{"PutRequest": {"Item": {"id": {"S": "1"}}}}]
    faulty.always = Fault("status", 200, json.dumps({"UnprocessedItems": {"t": left}}).encode())
    with pytest.raises(PartlyFailed, match=r"batch_write_item failed: Unprocessed.*try again later"):
        Table(client("dynamodb"), "t").put_all([{"id": "1"}])
    assert faulty.seen == 10


@pytest.mark.parametrize(("code", "transient"), [("InternalException", False), ("ThrottlingException", True)])
def test_targets_that_were_not_removed_are_removed_or_an_error(
    cloud: Cloud, through: tuple[Faulty, Callable[[str], Client]], code: str, transient: bool
) -> None:
    """EventBridge counts them in FailedEntryCount, in a reply of status 200."""
    faulty, client = through
    events, name = boto(cloud, "events"), fresh("rule")
    events.put_rule(Name=name, ScheduleExpression="rate(1 hour)")
    arn = "arn:aws:sns:us-east-1:000000000000:nowhere"
    events.put_targets(Rule=name, Targets=[{"Id": "a", "Arn": arn}, {"Id": "b", "Arn": arn}])
    entry = {"TargetId": "b", "ErrorCode": code, "ErrorMessage": "why"}
    reply = json.dumps({"FailedEntryCount": 1, "FailedEntries": [entry]}).encode()
    faulty.faults.append(Fault("status", 200, reply, operation="RemoveTargets"))
    rule = OwnedResource("events:rule", name, "")
    if transient:
        RESOURCE_KINDS["events:rule"].delete(client("events"), rule)
        assert faulty.seen == 4  # the targets listed, removed twice, and then the rule
        assert name not in {each["Name"] for each in events.list_rules()["Rules"]}
    else:
        with pytest.raises(PartlyFailed, match=rf"events remove_targets failed: {code}: why \(1 failed, the first: b"):
            RESOURCE_KINDS["events:rule"].delete(client("events"), rule)


ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("sagemaker", "describe_training_job", {"TrainingJobName": "j"}),
    ("dynamodb", "get_item", {"TableName": "t", "Key": {"id": {"S": "1"}}}),
    ("cloudformation", "describe_stacks", {"StackName": "s"}),
    ("sts", "get_caller_identity", {}),
    ("s3", "get_object", {"Bucket": "b", "Key": "k"}),
    ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}),
    ("s3", "list_objects_v2", {"Bucket": "b"}),
    ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e", "Body": b"x"}),
    ("codebuild", "batch_get_builds", {"ids": ["b"]}),
    ("lambda", "get_function", {"FunctionName": "f"}),
]


@pytest.mark.parametrize("status", [200, 302, 403, 407, 500, 502, 503, 511])
@pytest.mark.parametrize(("service", "operation", "arguments"), ASKED, ids=[f"{s}-{o}" for s, o, _ in ASKED])
def test_a_web_page_in_place_of_a_reply_is_one_line(
    through: tuple[Faulty, Callable[[str], Client]],
    service: str,
    operation: str,
    arguments: dict[str, Any],
    status: int,
) -> None:
    """A proxy's error page or a network's login page, whatever its status: it is named, and trying again may help."""
    faulty, client = through
    faulty.always = Fault("status", status, PAGE, content_type="text/html; charset=utf-8")
    with pytest.raises(AwsError, match=r"HTTP \d+ with a web page in place of AWS's reply") as told:
        client(service).call(operation, **arguments)
    assert told.value.transient
    assert len(str(told.value)) < 400
    assert str(told.value).isprintable()


@pytest.mark.parametrize("status", [200, 302, 503])
def test_a_web_page_is_retried_as_a_5xx_is(cloud: Cloud, tmp_path: Path, status: int) -> None:
    """By botocore, with its backoff."""
    with before(cloud.port, [Fault("status", status, PAGE, content_type="text/html")] * 2) as faulty:
        client = Client(at(new_settings(cloud, tmp_path), faulty.url), "sts", KEYS)
        assert client.call("get_caller_identity")["Account"] == "0" * 12
        assert faulty.seen == 3


def test_an_object_that_is_a_web_page_is_an_object(cloud: Cloud) -> None:
    """Reports are in S3: they are no proxy's reply."""
    s3 = boto(cloud, "s3")
    bucket = a_bucket(s3)
    s3.put_object(Bucket=bucket, Key="report.html", Body=PAGE, ContentType="text/html")
    settings = at(Settings(), cloud.endpoint_url)
    read = Bucket(Client(settings, "s3", KEYS), bucket)
    assert read.get("report.html") == PAGE
    assert read.age_seconds("report.html") is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b'{"TrainingJobStatus": ',
        b"\xff\xfe\x00",
        b'{"TrainingJobName": ["a"], "CreationTime": "yesterday"}',
        b'{"FinalMetricDataList": 5}',
        b"<Reply/>",
        b"[" * 5000,
    ],
)
@pytest.mark.parametrize(
    ("service", "operation", "member"),
    [
        ("sagemaker", "describe_training_job", "TrainingJobStatus"),
        ("cloudformation", "describe_stacks", "Stacks"),
        ("sts", "get_caller_identity", "Account"),
        ("s3", "get_bucket_tagging", "TagSet"),
    ],
)
def test_a_reply_of_another_form_is_an_error_of_the_service(
    through: tuple[Faulty, Callable[[str], Client]], service: str, operation: str, member: str, body: bytes
) -> None:
    """Status 200, but cut, empty or not what AWS's model says: one line, and no error of ours."""
    faulty, client = through
    faulty.always = Fault("status", 200, body)
    arguments = next((given for of, name, given in ASKED if (of, name) == (service, operation)), {"Bucket": "b"})
    with pytest.raises(AwsError, match=rf"^{service} {operation} failed: ") as told:
        client(service).call(operation, **arguments)[member]
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("body", [b"", b"{", b"<a", b"\xff" * 4000, PAGE, b'{"__type": 5, "message": {}}', b"<Error/>"])
@pytest.mark.parametrize(("service", "operation", "arguments"), ASKED, ids=[f"{s}-{o}" for s, o, _ in ASKED])
def test_an_error_of_another_form_is_one_line_too(
    through: tuple[Faulty, Callable[[str], Client]],
    service: str,
    operation: str,
    arguments: dict[str, Any],
    body: bytes,
) -> None:
    """Status 400 or 500 with what no parser can read."""
    faulty, client = through
    for status in (400, 500):
        faulty.always = Fault("status", status, body)
        with pytest.raises(AwsError, match=rf"^{service} {operation} failed: ") as told:
            client(service).call(operation, **arguments)
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 2300
        assert told.value.transient >= (status == 500)


def test_a_body_that_breaks_off_is_read_again(cloud: Cloud, tmp_path: Path) -> None:
    """Connections end in the middle of an object: botocore does not repeat that, the client does."""
    s3 = boto(cloud, "s3")
    name = a_bucket(s3)
    s3.put_object(Bucket=name, Key="k", Body=bytes(100_000))
    with before(cloud.port, [Fault("cut"), Fault("cut")]) as faulty:
        bucket = Bucket(Client(at(new_settings(cloud, tmp_path), faulty.url), "s3", KEYS), name)
        assert bucket.get("k") == bytes(100_000)
        assert faulty.seen == 3
        faulty.always = Fault("cut")
        with pytest.raises(AwsError, match=r"s3 get_object failed: .*the reply broke off") as told:
            bucket.get("k")
        assert told.value.transient
        with pytest.raises(AwsError, match=r"s3 get_object failed: .*the reply broke off"):
            list(bucket.stream("k"))


def refused(code: str, message: str, minutes: float) -> Fault:
    """A rejection by a server whose clock is so many minutes ahead."""
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    body = json.dumps({"__type": code, "message": message}).encode()
    return Fault("status", 403, body, headers=(("Date", date),))


@pytest.mark.parametrize(
    ("code", "message", "minutes", "words"),
    [
        ("RequestTimeTooSkewed", "The difference between the times is too large.", 20, "behind AWS's"),
        ("RequestTimeTooSkewed", "The difference between the times is too large.", -20, "ahead of AWS's"),
        (
            "InvalidSignatureException",
            "Signature expired: 20261130T0000Z is now earlier than 20261130T0015Z",
            20,
            "behind",
        ),
        ("InvalidSignatureException", "Signature not yet current: 20261130T0100Z is still later than", -60, "ahead of"),
        ("SignatureDoesNotMatch", "Signature expired: 20261130T0000Z is now earlier than", 0, "clock is wrong"),
        ("RequestExpired", "Request has expired.", 30, "behind"),
        ("RequestInTheFuture", "The request is in the future.", 0, "clock is wrong"),
        ("AuthFailure", "AWS was not able to validate the provided access credentials", 24 * 60, "behind"),
        ("InvalidSignatureException", "The request signature does not match", -10, "ahead of"),
    ],
)
def test_a_wrong_clock_is_told_from_wrong_credentials(
    through: tuple[Faulty, Callable[[str], Client]], code: str, message: str, minutes: float, words: str
) -> None:
    """By the code, the message, and the difference to the Date that AWS answers with; renewing keys would not help."""
    faulty, client = through
    faulty.always = refused(code, message, minutes)
    with pytest.raises(ClockSkewed, match=words) as told:
        client("sagemaker").call("list_models")
    assert "set it" in str(told.value)
    assert "renew them" not in str(told.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidSignatureException", "The request signature we calculated does not match"),
        ("ExpiredTokenException", "The security token included in the request is expired"),
        ("UnrecognizedClientException", "The security token included in the request is invalid."),
        ("RequestExpired", "Request has expired."),
    ],
)
def test_wrong_credentials_are_told_as_such_while_the_clock_is_right(
    through: tuple[Faulty, Callable[[str], Client]], code: str, message: str
) -> None:
    """And an expired token is, whatever the clock says."""
    faulty, client = through
    faulty.always = refused(code, message, 0.5)
    with pytest.raises(CredentialsRefused, match="renew them"):
        client("sagemaker").call("list_models")
    faulty.always = refused("ExpiredToken", "expired", 60)
    with pytest.raises(CredentialsRefused, match="renew them"):
        client("sagemaker").call("list_models")


@pytest.mark.parametrize(
    "fault", [Fault("reset"), Fault("lost"), Fault("cut"), Fault("status", 429), Fault("status", 503)]
)
def test_what_may_pass_is_transient(through: tuple[Faulty, Callable[[str], Client]], fault: Fault) -> None:
    """Dropped connections, throttling and errors of the server."""
    faulty, client = through
    faulty.always = fault
    with pytest.raises((AwsError, AwsUnreachable)) as told:
        client("sagemaker").call("list_models")
    assert told.value.transient


def test_a_creation_whose_reply_was_lost_is_not_an_error(cloud: Cloud, tmp_path: Path) -> None:
    """The second attempt finds the name taken, by the first."""
    with before(cloud.port, [Fault("lost")]) as faulty:
        client = Client(at(new_settings(cloud, tmp_path), faulty.url), "sagemaker", KEYS)
        name, role = fresh("model"), "arn:aws:iam::000000000000:role/test"
        image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/scones-image:1"
        client.create("create_model", ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": image})
        assert faulty.seen == 2
        assert client.call("describe_model", ModelName=name)["ModelName"] == name


def test_requests_name_their_operation(cloud: Cloud, tmp_path: Path) -> None:
    """What the tests above rely on: the server between knows which request it fails."""
    seen: list[Request] = []
    with before(cloud.port, decide=seen.append) as faulty:
        Client(at(new_settings(cloud, tmp_path), faulty.url), "sagemaker", KEYS).call("list_models")
    assert [request.operation for request in seen] == ["ListModels"]
