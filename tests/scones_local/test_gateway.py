"""The gateway: a web page, a process without the key and a request for another host get nowhere."""

import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from access_keys import BOTO_KEYS, KEY
from scones_local.access import new_access_key
from scones_local.cloud import Cloud

TEMPLATE = {"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "made-by-a-page"}}}}
CREATE_STACK = {"Action": "CreateStack", "StackName": "page", "TemplateBody": json.dumps(TEMPLATE)}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TARGET = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AWSStepFunctions.ListStateMachines"}


def ask(running: Cloud, method: str, path: str, headers: dict[str, str] | None = None, body: str = "") -> int:
    """The status of the reply to a request."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.request(method, path, body, headers or {})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


def ask_raw(running: Cloud, *lines: str) -> int:
    """The status of the reply to a request of exactly these header lines."""
    with socket.create_connection(("127.0.0.1", running.port), 30) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        return int(connection.recv(4096).split(b" ")[1])


def signed(running: Cloud, body: str, key: Any = KEY, headers: dict[str, str] | None = None) -> dict[str, str]:
    """The headers of a signed AWS Query request to CloudFormation."""
    host = f"127.0.0.1:{running.port}"
    request = AWSRequest("POST", f"http://{host}/", data=body, headers={**FORM, "Host": host, **(headers or {})})
    SigV4Auth(Credentials(*key), "cloudformation", running.region).add_auth(request)
    return {str(name): str(value) for name, value in request.headers.items()}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "https://example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Host": "localhost:PORT"}, 200),
        ({"Host": "LOCALHOST:PORT"}, 403),
        ({"Host": "localhost"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Host": "127.1:PORT"}, 403),
        ({"Host": "localhost.:PORT"}, 403),
        ({"Host": "evil-localhost:PORT"}, 403),
        ({"Host": "evil.localhost:PORT"}, 403),
        ({"Host": "127.0.0.1.example.org:PORT"}, 403),
        ({"Host": "rebound.example.org:PORT"}, 403),
        ({"Host": "user@127.0.0.1:PORT"}, 403),
        ({"Host": "[::1]:PORT"}, 403),
    ],
)
def test_only_requests_to_this_host_and_of_no_page_are_answered(
    running: Cloud, headers: dict[str, str], status: int
) -> None:
    """Also those that need no signature."""
    sent = {name: value.replace("PORT", str(running.port)) for name, value in headers.items()}
    assert ask(running, "GET", "/_ministack/health", sent) == status


def test_a_missing_or_repeated_host_is_refused(running: Cloud) -> None:
    """HTTP allows neither; of two hosts one could pass the check, and the other be used."""
    host = f"Host: 127.0.0.1:{running.port}"
    assert ask_raw(running, "GET /_ministack/health HTTP/1.1", host, "Connection: close") == 200
    assert ask_raw(running, "GET /_ministack/health HTTP/1.1", "Connection: close") in (400, 403)
    assert ask_raw(running, "GET /_ministack/health HTTP/1.0", "Connection: close") == 403
    for hosts in ((host, host), (host, "Host: example.org"), ("Host: example.org", host)):
        assert ask_raw(running, "GET /_ministack/health HTTP/1.1", *hosts, "Connection: close") in (400, 403)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("GET", "/", {}, ""),
        ("GET", f"/?{urlencode(CREATE_STACK)}", {}, ""),
        ("HEAD", f"/?{urlencode(CREATE_STACK)}", {}, ""),
        ("POST", f"/?{urlencode(CREATE_STACK)}", {}, ""),
        ("POST", "/", FORM, urlencode(CREATE_STACK)),
        ("POST", "/", {"Content-Type": "text/plain"}, urlencode(CREATE_STACK)),
        ("POST", "/", TARGET, "{}"),
        ("POST", "/", {**TARGET, "Authorization": "AWS4-HMAC-SHA256"}, "{}"),
        ("POST", "/", {**TARGET, "Authorization": "Basic bG9jYWw6bG9jYWw="}, "{}"),
        ("POST", "/", {**TARGET, "Authorization": "AWS local:local"}, "{}"),
        ("PUT", "/bucket-of-a-page", {}, ""),
        ("PUT", "/2015-03-31/functions/f/code", {}, "{}"),
        ("POST", "/_ministack/reset", {}, ""),
        ("POST", "/_ministack/config", {}, "{}"),
        ("GET", "/_ministack/cfn-response/x", {}, ""),
        ("GET", "/_ministack/health/../reset", {}, ""),
        ("POST", "/_ministack/health", {}, ""),
        ("GET", "/v2/", {}, ""),
        ("GET", "/?X-Amz-Signature=0", {}, ""),
        ("GET", "/?AWSAccessKeyId=test&Signature=0&Expires=99999999999", {}, ""),
    ],
)
def test_a_request_without_a_signature_is_refused(
    running: Cloud, method: str, path: str, headers: dict[str, str], body: str
) -> None:
    """In every protocol that the services speak, and by ministack's own addresses."""
    assert ask(running, method, path, headers, body) == 403


def test_an_action_is_accepted_by_post_only(running: Cloud) -> None:
    """Also when it is signed: browsers send GET without asking."""
    body = urlencode({"Action": "ListStacks", "Version": "2010-05-15"})
    assert ask(running, "POST", "/", signed(running, body), body) == 200
    assert ask(running, "GET", f"/?{body}", signed(running, "")) == 403


@pytest.mark.parametrize("change", ["key id", "secret", "both", "body", "header", "test", "account"])
def test_a_wrong_signature_is_refused(running: Cloud, change: str) -> None:
    """A wrong key id or secret, ministack's own default keys, and what was changed after it was signed."""
    body, other = urlencode({"Action": "ListStacks", "Version": "2010-05-15"}), new_access_key()
    keys = {
        "key id": (other.key_id, KEY.secret),
        "secret": (KEY.key_id, other.secret),
        "both": other,
        "test": ("test", "test"),
        "account": ("000000000000", KEY.secret),
    }
    headers = signed(running, body, keys.get(change, KEY))
    if change == "header":
        headers["X-Amz-Date"] = "20200101T000000Z"
    assert ask(running, "POST", "/", headers, body + ("&NextToken=1" if change == "body" else "")) == 403


def test_a_key_that_sts_issued_is_accepted(running: Cloud) -> None:
    """Code that assumes a role gets a key of its own."""
    where = {"endpoint_url": running.endpoint_url, "region_name": running.region}
    issued = boto3.client("sts", **where, **BOTO_KEYS).assume_role(
        RoleArn="arn:aws:iam::000000000000:role/some", RoleSessionName="test"
    )["Credentials"]
    assumed = {
        "aws_access_key_id": issued["AccessKeyId"],
        "aws_secret_access_key": issued["SecretAccessKey"],
        "aws_session_token": issued["SessionToken"],
    }
    assert "Buckets" in boto3.client("s3", **where, **assumed).list_buckets()


@pytest.mark.parametrize("service", ["s3", "sqs", "stepfunctions", "cloudwatch", "lambda", "dynamodb"])
def test_a_stale_key_is_an_aws_error_with_a_reason(running: Cloud, service: str) -> None:
    """In each protocol the client raises an error that says that the key is of another cloud."""
    old = new_access_key()
    client = boto3.client(
        service,
        endpoint_url=running.endpoint_url,
        region_name=running.region,
        aws_access_key_id=old.key_id,
        aws_secret_access_key=old.secret,
        config=Config(retries={"total_max_attempts": 1}),
    )
    operations = {
        "s3": "list_buckets",
        "sqs": "list_queues",
        "stepfunctions": "list_state_machines",
        "cloudwatch": "list_metrics",
        "lambda": "list_functions",
        "dynamodb": "list_tables",
    }
    with pytest.raises(ClientError) as caught:
        getattr(client, operations[service])()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert "not of this local cloud" in str(caught.value)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_opens_one_object_only(running: Cloud, version: str) -> None:
    """Without further headers, until it expires; it can be changed to no other object, method or operation."""
    where = {"endpoint_url": running.endpoint_url, "region_name": running.region, **BOTO_KEYS}
    s3, signer = boto3.client("s3", **where), boto3.client("s3", **where, config=Config(signature_version=version))
    bucket = f"presigned-{version}"
    s3.create_bucket(Bucket=bucket)
    for key in ("a b+ü.txt", "other"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"hello")

    def path(seconds: int = 60) -> str:
        url = signer.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b+ü.txt"}, ExpiresIn=seconds)
        parts = urlsplit(str(url))
        return f"{parts.path}?{parts.query}"

    assert ask(running, "GET", path()) == 200
    assert ask(running, "GET", path(), {"Sec-Fetch-Site": "cross-site"}) == 403
    assert ask(running, "GET", path().replace("a%20b%2B%C3%BC.txt", "other")) == 403
    assert ask(running, "DELETE", path()) == 403
    assert ask(running, "POST", path(), TARGET, "{}") == 403
    soon = path(1)
    time.sleep(2.1)
    assert ask(running, "GET", soon) == 403
