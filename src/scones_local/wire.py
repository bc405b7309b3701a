"""What goes over the wire: loosely typed JSON, and AWS's error replies."""

import json
from typing import Any

Json = dict[str, Any]
Reply = tuple[int, dict[str, str], bytes]

JSON_1_1 = "application/x-amz-json-1.1"


class AwsError(Exception):
    """An error that the caller of an AWS operation must see: its code, its message, and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400, **members: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members


def json_reply(body: Json, status: int = 200, content_type: str = JSON_1_1) -> Reply:
    """A successful reply of a JSON protocol service."""
    return status, {"Content-Type": content_type}, json.dumps(body).encode()


def error_reply(error: AwsError, content_type: str = JSON_1_1) -> Reply:
    """The reply that makes botocore raise a ClientError with *error*'s code."""
    status, headers, body = json_reply(
        {"__type": error.code, "message": error.message, "Message": error.message, **error.members},
        error.status,
        content_type,
    )
    return status, {**headers, "x-amzn-ErrorType": error.code}, body
