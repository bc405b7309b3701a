"""S3 from inside the gateway: what clients see, without a network round trip."""

from collections.abc import Iterator
from urllib.parse import quote

from ministack.app import call_service_handler_sync
from ministack.services import s3


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


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
