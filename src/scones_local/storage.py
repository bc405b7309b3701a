"""S3 and CloudWatch Logs from inside the gateway: what clients see, without a network round trip."""

import json
import time
from collections.abc import Iterator
from urllib.parse import quote

from ministack.app import call_service_handler_sync
from ministack.services import cloudwatch_logs, s3


class ObjectStore:
    """Reads and writes objects; called from worker threads only."""

    def get(self, uri: str) -> bytes | None:
        """The newest version of the object at *uri*; None when there is none."""
        data: bytes | None = s3._get_object_data(*split_uri(uri))
        return data

    def put(self, uri: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        """Write an object.

        Raises:
            OSError: there is no such bucket, or it refused the object.
        """
        bucket, key = split_uri(uri)
        headers = {"content-type": content_type, "content-length": str(len(body)), "host": "127.0.0.1"}
        status, _, reply = call_service_handler_sync(
            s3.handle_request, "PUT", f"/{bucket}/{quote(key)}", headers, body, {}
        )
        if status >= 300:
            raise OSError(f"could not write {uri}: {bytes(reply).decode(errors='replace')}")

    def keys(self, uri: str) -> Iterator[str]:
        """The keys that begin with *uri*'s key."""
        bucket, prefix = split_uri(uri)
        objects = (s3._buckets.get(bucket) or {}).get("objects") or {}
        yield from sorted(key for key in list(objects) if key.startswith(prefix))


class LogStore:
    """Writes log lines; called from worker threads only."""

    def __init__(self) -> None:
        self._streams: set[tuple[str, str]] = set()

    def write(self, group: str, stream: str, line: str) -> None:
        """Append one line; the first one creates the group and the stream."""
        names = {"logGroupName": group, "logStreamName": stream}
        if (group, stream) not in self._streams:
            self._streams.add((group, stream))
            self._call("CreateLogGroup", {"logGroupName": group})
            self._call("CreateLogStream", names)
        event = {"timestamp": int(time.time() * 1000), "message": line or " "}
        self._call("PutLogEvents", {**names, "logEvents": [event]})

    def _call(self, operation: str, query: object) -> None:
        headers = {"x-amz-target": f"Logs_20140328.{operation}"}
        call_service_handler_sync(cloudwatch_logs.handle_request, "POST", "/", headers, json.dumps(query).encode(), {})


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
