"""A server before the local cloud, which writes down every call that it passes on: who, which action, on what."""

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import unescape

import botocore.session

from access_keys import sign_again
from contract.shapes import request_faults

_DROPPED = ("content-length", "transfer-encoding", "connection", "date", "server")
_S3 = {
    ("GET", True, ""): "GetObject",
    ("HEAD", True, ""): "GetObject",
    ("PUT", True, ""): "PutObject",
    ("DELETE", True, ""): "DeleteObject",
    ("GET", False, "list-type"): "ListBucket",
    ("HEAD", False, ""): "ListBucket",
    ("GET", False, "versions"): "ListBucketVersions",
    ("GET", False, "tagging"): "GetBucketTagging",
    ("GET", False, "uploads"): "ListBucketMultipartUploads",
    ("POST", False, "delete"): "DeleteObject",
    ("DELETE", False, ""): "DeleteBucket",
}
"""S3's actions, by method, whether a key is named, and the part of the query that says which call it is."""
_KEY = re.compile("<Key>(.*?)</Key>")
"""The keys in the body of DeleteObjects."""
_IAM_SERVICES = {"monitoring": "cloudwatch", "tagging": "tag"}
"""Where an action's prefix is not the name that requests are signed for."""

_IAM_ACTIONS = {"budgets:DescribeBudget": "budgets:ViewBudget", "budgets:DeleteBudget": "budgets:ModifyBudget"}
"""Calls that need an action of another name."""


@dataclass(frozen=True, order=True)
class Call:
    """One action as IAM names it, by whoever signed with that access key, on a resource without `arn:aws:...:`."""

    who: str
    action: str
    resource: str


@dataclass
class Recorder:
    """The server under way: its address, and what it has passed on."""

    url: str
    calls: set[Call] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    """What AWS's models do not allow in the requests with JSON bodies."""


@contextmanager
def recording(port: int) -> Iterator[Recorder]:
    """Stand before the cloud on *port* of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        recorder: ClassVar[Recorder]

        def _serve(self) -> None:
            body = self._body()
            headers = dict(self.headers.items())
            self.recorder.calls.update(calls(self.command, self.path, headers, body))
            self.recorder.faults.extend(json_faults(headers, body))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
            connection.request(self.command, self.path, body, sign_again(self.command, self.path, headers, body, port))
            reply = connection.getresponse()
            answer = reply.read()
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in _DROPPED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else answer)
            connection.close()

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Handler.recorder = Recorder(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Handler.recorder
    finally:
        server.shutdown()
        server.server_close()


def calls(method: str, path: str, headers: dict[str, str], body: bytes) -> Iterator[Call]:
    """What one signed request asks for; a transaction asks for each of its writes.

    Raises:
        KeyError: a call of S3 that was not recorded.
    """
    scope = headers["Authorization"].partition("Credential=")[2].partition(",")[0].split("/")
    who, service = scope[0], scope[3]
    where, query = unquote(urlsplit(path).path), parse_qs(urlsplit(path).query, keep_blank_values=True)
    if service == "s3":
        bucket, _, key = where[1:].partition("/")
        told = next(
            (name for name in ("list-type", "versions", "uploads", "uploadId", "delete", "tagging") if name in query),
            "",
        )
        named = [key] if told != "delete" else _KEY.findall(body.decode())
        for each in named:
            yield Call(who, f"s3:{_S3[method, bool(key), told]}", f"{bucket}/{unescape(each)}" if each else bucket)
        return
    prefix = _IAM_SERVICES.get(service, service)
    if service == "sagemaker" and where.endswith("/invocations"):
        yield Call(who, "sagemaker:InvokeEndpoint", f"endpoint/{where.split('/')[2]}")
        return
    if service == "lambda" and method == "GET" and where.endswith("/configuration"):
        yield Call(who, "lambda:GetFunctionConfiguration", f"function:{where.split('/')[3]}")
        return
    action, members = _asked(where, headers, body)
    if action == "TransactWriteItems":
        for item in members["TransactItems"]:
            ((kind, write),) = item.items()
            yield Call(who, f"dynamodb:{kind}Item", f"table/{write['TableName']}")
        return
    action = _IAM_ACTIONS.get(f"{prefix}:{action}", f"{prefix}:{action}")
    yield Call(who, action, _resource(prefix, members))


_MODELS = {
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
    "states": "stepfunctions",
    "tagging": "resourcegroupstaggingapi",
}
"""Where botocore's name of a service is not the name that requests are signed for."""


def json_faults(headers: dict[str, str], body: bytes) -> list[str]:
    """Everything that AWS's model does not allow in a request whose protocol has a JSON body."""
    target = headers.get("X-Amz-Target")
    if not target:
        return []
    service = headers["Authorization"].partition("Credential=")[2].split("/")[3]
    model = botocore.session.get_session().get_service_model(_MODELS.get(service, service))
    return request_faults(model.operation_model(target.rpartition(".")[2]), json.loads(body))


def _asked(where: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, Any]]:
    """The operation and its members, by each of AWS's protocols."""
    if target := headers.get("X-Amz-Target"):
        return target.rpartition(".")[2], json.loads(body)
    if "/operation/" in where:
        return where.rpartition("/")[2], {}  # CBOR: the operation is all that is read
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return form["Action"], form


def _resource(prefix: str, members: dict[str, Any]) -> str:
    if prefix == "dynamodb" and "TableName" in members:
        index = f"/index/{members['IndexName']}" if "IndexName" in members else ""
        return f"table/{members['TableName']}{index}"
    if prefix == "sagemaker":
        if "ResourceArn" in members:
            return str(members["ResourceArn"]).split(":", 5)[5]
        return f"endpoint/{members['EndpointName']}" if "EndpointName" in members else ""
    if prefix == "sns":
        return str(members["TopicArn"]).rpartition(":")[2]
    return ""
