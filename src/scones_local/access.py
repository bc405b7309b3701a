"""Access: the gateway answers requests that are signed with the cloud's access key, and none that a web page sent.

A client that may create a function here runs code as this user. Web pages and other users of the machine reach the
port too, but have no key. Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html and
https://www.w3.org/TR/fetch-metadata/
"""

import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from scones_local.wire import Json, Reply, account

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Query = dict[str, list[str]]

HEALTH = "/_ministack/health"
CALLBACK = "/_ministack/cfn-response/"
"""Where the function of a custom resource puts its result, by a URL whose last part is a secret, without signing."""
FOREIGN_SITES = ("cross-site", "same-site")
ROLE, ROLE_ID = "LocalCloud", "AROALOCALCLOUD0000001"
"""The role that the cloud's key is of, by STS's words; it may do everything, as that key may."""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": [f"{name}.amazonaws.com" for name in ("sagemaker", "lambda", "states", "events")]},
            "Action": "sts:AssumeRole",
        }
    ],
}
SIGV4 = "AWS4-HMAC-SHA256"


class AccessKey(NamedTuple):
    """An access key id and its secret."""

    key_id: str
    secret: str


def new_access_key() -> AccessKey:
    """A random access key."""
    return AccessKey(f"LOCAL{secrets.token_hex(16).upper()}", secrets.token_hex(20))


def install() -> None:
    """Let STS describe the cloud's key as one of an assumed role, as most keys on AWS are, not as the root user's.

    IAM has that role: the SageMaker SDK 3 simulates its policy before it trains, and others pass it to their functions.
    """
    from ministack.core import iam_evaluator  # noqa: PLC0415 - ministack reads its settings when it is imported
    from ministack.services import iam  # noqa: PLC0415

    resolve = iam_evaluator.resolve_caller_identity

    def resolved(key_id: str) -> Json | None:
        found: Json | None = resolve(key_id)
        if found is None or not found["userArn"].endswith(":root"):
            return found
        arn = f"arn:aws:sts::{found['accountId']}:assumed-role/{ROLE}/local"
        return {**found, "userArn": arn, "userId": f"{ROLE_ID}:local"}

    iam_evaluator.resolve_caller_identity = resolved
    iam._create_role({"RoleName": ROLE, "AssumeRolePolicyDocument": json.dumps(TRUST)})
    iam._attach_role_policy({"RoleName": ROLE, "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"})


class AccessDenied(Exception):
    """A request that is refused: AWS's code for the reason, and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class AccessCheck:
    """The ASGI application that passes on what it accepts, and replies 403 to everything else."""

    def __init__(self, app: AsgiApp, port: int, key: AccessKey) -> None:
        self._app = app
        self._key = key
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    async def __call__(self, scope: Json, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            headers = _joined(scope["headers"])
            try:
                check_page(scope, self._hosts)
                if not _is_open(scope):
                    receive = await self._check_signature(scope, headers, receive)
            except AccessDenied as refusal:
                await _send(send, refusal_reply(refusal, headers))
                return
        await self._app(scope, receive, send)

    async def _check_signature(self, scope: Json, headers: dict[str, str], receive: Any) -> Any:
        """Check who signed; returns what is to be called for the body, of which a part may have been read here.

        Raises:
            AccessDenied: the request is not signed, or not with a key of this cloud.
        """
        # ministack reads its settings when it is imported.
        from ministack.core import sigv4  # noqa: PLC0415

        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        query: Query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        presigned = "authorization" not in headers
        if presigned and "x-amz-target" in headers:
            raise AccessDenied("AccessDenied", "a presigned URL cannot call another operation")
        if presigned and "AWSAccessKeyId" in query:
            self._check_version_2(method, path, query, headers)
            return receive
        if presigned and not {name for name in query if name.lower() == "x-amz-signature"}:
            raise AccessDenied("MissingAuthenticationToken", "the request is not signed")
        if not presigned and not headers["authorization"].startswith(SIGV4):
            raise AccessDenied("IncompleteSignature", f"only {SIGV4} is accepted")
        found = sigv4.parse_query_signature(query) if presigned else sigv4.parse_header_signature(headers)
        if isinstance(found, tuple):
            raise AccessDenied(*found)
        secret = self._secret_of(found.access_key_id)
        body, receive = await _body_for(headers, presigned and found.service == "s3", receive)
        if failure := sigv4.header_signature_failure(
            found, secret, method, path, query, headers, body, presigned=presigned
        ):
            raise AccessDenied(*failure)
        if presigned and found.service != "s3":  # S3's are checked by S3, with its own error
            _check_expiry(found.amz_date, query)
        return receive

    def _secret_of(self, key_id: str) -> str:
        """The secret of the cloud's key, or of one that its STS or IAM has issued.

        Raises:
            AccessDenied: this cloud has not issued the key.
        """
        from ministack.core import iam_evaluator  # noqa: PLC0415

        if hmac.compare_digest(key_id.encode(), self._key.key_id.encode()):
            return self._key.secret
        found = None if iam_evaluator.is_root_access_key(key_id) else iam_evaluator.resolve_credential(key_id)
        secret = getattr(found, "secret_access_key", None)
        if not isinstance(secret, str):
            text = "the access key is not of this local cloud; each cloud has its own, which its exports name"
            raise AccessDenied("InvalidClientTokenId", text)
        return secret

    def _check_version_2(self, method: str, path: str, query: Query, headers: dict[str, str]) -> None:
        """Check a URL of S3 that was presigned with the older signature, which boto3 still uses for it."""
        from ministack.core.iam_evaluator import SignedRequest, _sigv2_check  # noqa: PLC0415

        key_id = query["AWSAccessKeyId"][0]
        self._secret_of(key_id)
        request = SignedRequest(key_id, method, path, dict(query), headers, sigv2=True, auth_path=path)
        result = _sigv2_check(request, account())
        if hasattr(result, "code"):
            raise AccessDenied(result.code, result.message)


def check_page(scope: Json, hosts: tuple[str, ...]) -> None:
    """Refuse what a browser sends for a page of another site, and what came by another host name than ours.

    Raises:
        AccessDenied: it did.
    """
    names = [name for name, _ in scope["headers"]]
    values = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if names.count(b"host") != 1 or values[b"host"] not in hosts:
        raise AccessDenied("AccessDenied", f"the Host header must be one of {', '.join(hosts)}")
    if names.count(b"authorization") > 1:
        raise AccessDenied("AccessDenied", "the Authorization header must not be repeated")
    sites = {value.decode("latin-1").strip().lower() for name, value in scope["headers"] if name == b"sec-fetch-site"}
    if b"origin" in values or sites.intersection(FOREIGN_SITES):
        raise AccessDenied("AccessDenied", "requests of web pages are refused")
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if scope["method"] in ("GET", "HEAD") and "action" in {name.lower() for name in query}:
        raise AccessDenied("AccessDenied", "an Action is accepted by POST only")


def _is_open(scope: Json) -> bool:
    """Whether a request needs no signature: it asks only whether the cloud runs, or its URL is a secret."""
    method, path = str(scope["method"]), str(scope["path"])
    return (method == "GET" and path == HEALTH) or (method == "PUT" and path.startswith(CALLBACK))


def _check_expiry(signed_at: str, query: Query) -> None:
    from ministack.core.sigv4 import presigned_request_is_expired  # noqa: PLC0415

    try:
        expired = presigned_request_is_expired(signed_at, query.get("X-Amz-Expires", ["0"])[0])
    except ValueError:
        expired = True
    if expired:
        raise AccessDenied("RequestExpired", "the presigned URL has expired")


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; one on several lines is signed as its values joined by a comma."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), _text(value)
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def _body_for(headers: dict[str, str], unsigned: bool, receive: Any) -> tuple[bytes, Any]:
    """The body if its signature needs it, and what is to be called for the body afterwards."""
    hashed = headers.get("x-amz-content-sha256", "")
    if unsigned or (hashed and not hashed.startswith("STREAMING-AWS4")):
        return b"", receive
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Any:
        return waiting.pop() if waiting else await receive()

    return body, received


def refusal_reply(refusal: AccessDenied, headers: dict[str, str]) -> Reply:
    """The error in the form that the request's protocol has: JSON or XML."""
    if "x-amz-target" in headers or "json" in headers.get("content-type", ""):
        body = json.dumps({"__type": refusal.code, "message": refusal.message}).encode()
        return 403, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": refusal.code}, body
    error = f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message></Error>"
    return 403, {"Content-Type": "application/xml"}, f"<ErrorResponse>{error}</ErrorResponse>".encode()


async def _send(send: Any, reply: Reply) -> None:
    status, headers, body = reply
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
