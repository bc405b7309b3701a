"""Replies: what a reply of status 200 may hide, the failed parts of a batch or the web page of a proxy."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

FOREIGN_REPLY = "ForeignReply"
"""The error code of a reply that is not from AWS."""
UNREADABLE_REPLY = "UnreadableReply"
"""The error code of a reply that does not have the form of its protocol."""
INCOMPLETE_REPLY = "IncompleteReply"
"""The error code of a reply without a member that it should have."""
NOT_FOUND = {
    *("404", "NoSuchBucket", "NoSuchKey", "NoSuchVersion", "NoSuchUpload", "NoSuchEntity", "NotFound"),
    *("NotFoundException", "ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException"),
    *("ImageNotFoundException", "RepositoryNotFoundException", "StateMachineDoesNotExist", "ExecutionDoesNotExist"),
    *("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
}
"""The error codes for a resource that does not exist."""


class PartFailure(NamedTuple):
    """A part of a batch that failed, as its request names it, with the error code and message of the reply."""

    part: Any
    code: str
    message: str


def _each_failure(member: str, name: str, code: str, message: str) -> Callable[[Mapping[str, Any]], list[PartFailure]]:
    """How to read failures from a reply's list *member*: the names of the members that say which, why and what."""
    return lambda reply: [
        PartFailure(each.get(name), str(each.get(code, "Unknown")), str(each.get(message, "")))
        for each in reply.get(member, ())
    ]


def _objects_not_deleted(reply: Mapping[str, Any]) -> list[PartFailure]:
    return [
        PartFailure(
            {name: each[name] for name in ("Key", "VersionId") if each.get(name)},
            str(each.get("Code", "Unknown")),
            str(each.get("Message", "")),
        )
        for each in reply.get("Errors", ())
        if each.get("Code") not in NOT_FOUND
    ]


def _items_not_written(reply: Mapping[str, Any]) -> list[PartFailure]:
    left = reply.get("UnprocessedItems", {}).values()
    return [PartFailure(each, "Unprocessed", "the table is busy") for items in left for each in items]


PARTIAL_FAILURES: Mapping[str, Callable[[Mapping[str, Any]], list[PartFailure]]] = {
    "delete_objects": _objects_not_deleted,
    "batch_write_item": _items_not_written,
    "remove_targets": _each_failure("FailedEntries", "TargetId", "ErrorCode", "ErrorMessage"),
}
"""The operations in use whose reply of status 200 can name failed parts, and how it names them."""


# HTTP statuses that AWS never sends: a redirection to a login page, and a proxy that asks for a password.
_NEVER_AWS = {302, 303, 407, 511}


def mark_foreign_reply(operation_model: Any, response_dict: Any, customized_response_dict: Any, **_: object) -> None:
    """Make an error, which botocore retries, of a reply that a proxy or the network's login page gave."""
    if not _is_foreign(operation_model, response_dict):
        return
    if hasattr(response_dict["body"], "close"):
        # A streamed body holds its connection until it is read or closed.
        response_dict["body"].close()
    told = f"HTTP {response_dict['status_code']} with a web page in place of AWS's reply, from a proxy or a login page"
    response_dict |= {"status_code": 502, "body": b""}
    customized_response_dict["Error"] = {"Code": FOREIGN_REPLY, "Message": told}


def _is_foreign(operation: Any, reply: Mapping[str, Any]) -> bool:
    if reply["status_code"] in _NEVER_AWS:
        return True
    body, headers = reply["body"], {name.lower(): value for name, value in reply["headers"].items()}
    if isinstance(body, bytes) and operation.name != "GetObject":
        start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:9].lower()
        if start.startswith((b"<html", b"<!doctype")):
            return True
    # Objects may be web pages, but AWS's own replies have a header that names the request.
    return "html" in headers.get("content-type", "") and not any(name.startswith("x-amz") for name in headers)


def retry_marked_reply(response: Any, **_: object) -> None:
    """Let botocore's retries see the status that the mark gave to a reply."""
    if response is not None and response[1].get("Error", {}).get("Code") == FOREIGN_REPLY:
        response[0].status_code = 502
