"""The JSON protocol of AWS services: requests dispatched by their target header, replies, and errors."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Reply = tuple[int, dict[str, str], bytes]
Operations = Mapping[str, Callable[[Json], Json]]
"""The operations of a service by name: each takes the request's members and returns the reply's."""

JSON_1_1 = "application/x-amz-json-1.1"


def account() -> str:
    """The number of the account that this process emulates."""
    return os.environ.get("MINISTACK_ACCOUNT_ID", "000000000000")


class ServiceError(Exception):
    """An error reply of an AWS operation: code, message, HTTP status and further members."""

    def __init__(self, code: str, message: str, status: int = 400, **members: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members


def call(operations: Operations, operation: str, query: Json) -> Json:
    """Run one operation.

    Raises:
        ServiceError: it is refused, it is not emulated, or a required member is missing.
    """
    if operation not in operations:
        raise ServiceError("UnknownOperationException", f"{operation} is not emulated by the local cloud")
    try:
        return operations[operation](query)
    except KeyError as error:
        raise ServiceError("ValidationException", f"{operation}: the member {error} is missing") from None


def respond(operations: Operations, headers: Mapping[str, str], body: bytes) -> Reply:
    """Answer one request of a service with the JSON protocol."""
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    try:
        return json_reply(call(operations, operation, json.loads(body or b"{}")))
    except ServiceError as error:
        return error_reply(error)


def json_reply(body: Json, status: int = 200, content_type: str = JSON_1_1) -> Reply:
    """A successful reply."""
    return status, {"Content-Type": content_type}, json.dumps(body).encode()


def error_reply(error: ServiceError, content_type: str = JSON_1_1) -> Reply:
    """The reply that makes botocore raise a ClientError with *error*'s code."""
    status, headers, body = json_reply(
        {"__type": error.code, "message": error.message, "Message": error.message, **error.members},
        error.status,
        content_type,
    )
    return status, {**headers, "x-amzn-ErrorType": error.code}, body
