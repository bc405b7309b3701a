"""S3: an environment's bucket, and photos below any s3:// prefix."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scones.aws.client import PARTITIONS, AwsError, Client, partition
from scones.data.dataset import SourceError
from scones.data.image_header import UnreadablePhoto
from scones.domain.text import printable

if TYPE_CHECKING:
    from scones.data.sources.files import FileSource

Progress = Callable[[int, int, str], None]
"""Receives (done, total, what) during long work."""

_DELETE_AT_ONCE = 1000
_THREADS = 8
_GROUP_BYTES, _GROUP_OBJECTS = 8 << 20, 64


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object: its *key*, its size in bytes, what names its content, and when S3 took it (seconds since 1970)."""

    key: str
    size: int
    etag: str
    modified: float


class Bucket:
    """The bucket called *name*; every method raises AwsError as its call does."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def beside(self, name: str) -> "Bucket":
        """Another bucket, with the same credentials."""
        return Bucket(self._client, name)

    def uri(self, key: str) -> str:
        """Name an object, or a prefix, as AWS does."""
        return f"s3://{self.name}/{key}"

    def key(self, uri: str) -> str:
        """Undo `uri`."""
        return uri.removeprefix(f"s3://{self.name}/")

    def url(self, key: str) -> str:
        """The URL of an object, for CloudFormation."""
        region = self._client.region
        return f"https://s3.{region}.{PARTITIONS[partition(region)]}/{self.name}/{key}"

    def put(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> str:
        """Store *body* and return its URI."""
        self._client.call("put_object", Bucket=self.name, Key=key, Body=body, ContentType=content_type)
        return self.uri(key)

    def put_json(self, key: str, value: object) -> str:
        """Store *value* as JSON and return its URI."""
        return self.put(key, json.dumps(value, indent=1).encode(), "application/json")

    def put_all(self, items: Sequence[tuple[str, Callable[[], bytes]]], progress: Progress) -> None:
        """Store many objects in parallel; each body is read when it is uploaded."""

        def one(item: tuple[str, Callable[[], bytes]]) -> None:
            key, read = item
            self.put(key, read())

        with ThreadPoolExecutor(_THREADS) as pool:
            for done, _ in enumerate(pool.map(one, items), start=1):
                progress(done, len(items), "photos uploaded")

    def get(self, key: str) -> bytes:
        """Read one object."""
        body: bytes = self._client.call("get_object", Bucket=self.name, Key=key)["Body"]
        return body

    def get_all(self, keys: Sequence[str]) -> list[bytes]:
        """Read many objects in parallel, in the order of *keys*."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self.get, keys))

    def find(self, key: str) -> bytes | None:
        """Read one object; None if there is none."""
        return self.find_version(key)[0]

    def find_uri(self, uri: str) -> bytes | None:
        """Read the object at *uri*, in whichever bucket; None if there is none, or *uri* names no object of S3."""
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        return self.beside(bucket).find(key) if key and uri.startswith(SCHEME) else None

    def find_json(self, key: str) -> Any:
        """Read one JSON object; None if there is none."""
        body = self.find(key)
        return None if body is None else json.loads(body)

    def find_version(self, key: str) -> tuple[bytes | None, str]:
        """Read one object and the ETag that `replace` takes; None and an empty ETag if there is none."""
        found = self._client.find("get_object", Bucket=self.name, Key=key)
        return (found["Body"], found["ETag"]) if found else (None, "")

    def age_seconds(self, key: str) -> float | None:
        """Measure an object's age by S3's clock; None if there is none."""
        reply = self._client.find("head_object", Bucket=self.name, Key=key)
        if reply is None:
            return None
        now = parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - reply["LastModified"]).total_seconds())

    def replace(self, key: str, body: bytes, tag: str) -> str | None:
        """Store JSON if the object still has this ETag; return the new ETag, or None if it was changed meanwhile."""
        unchanged = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        kind = {"ContentType": "application/json"}
        try:
            reply = self._client.call("put_object", Bucket=self.name, Key=key, Body=body, **kind, **unchanged)
        except AwsError as error:
            # Of two writes with the same ETag at the same moment, S3 rejects one with a conflict.
            if error.code in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
                return None
            raise
        found: str = reply["ETag"]
        return found

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield one object in chunks."""
        return self._client.stream("get_object", Bucket=self.name, Key=key)

    def read_all(self, objects: Iterable[S3Object]) -> Iterator[tuple[S3Object, Iterable[bytes] | None]]:
        """Yield each object with its chunks, in order; None for a deleted one. Small ones are read in parallel."""
        for group in _groups(objects):
            if len(group) == 1 and group[0].size > _GROUP_BYTES:
                yield group[0], self.stream(group[0].key)
                continue
            with ThreadPoolExecutor(_THREADS) as pool:
                bodies = list(pool.map(self.find, (item.key for item in group)))
            for item, body in zip(group, bodies, strict=True):
                yield item, None if body is None else (body,)

    def download(self, key: str, path: Path) -> Path:
        """Write one object to *path*."""
        path.write_bytes(self.get(key))
        return path

    def list(self, prefix: str = "", after: str = "") -> Iterator[S3Object]:
        """Yield the objects below *prefix* with keys after *after*, in order; none if there is no bucket."""
        where = {"Prefix": prefix, **({"StartAfter": after} if after else {})}
        for page in self._client.find_pages("list_objects_v2", Bucket=self.name, **where):
            yield from (_object(item) for item in page.get("Contents", ()))

    def exists(self) -> bool:
        """Tell whether the bucket exists."""
        return self._client.find("head_bucket", Bucket=self.name) is not None

    def taken(self) -> bool:
        """Tell whether the bucket's name is taken by another account, or access to our own is denied."""
        try:
            self.exists()
        except AwsError as error:
            if error.code in {"403", "AccessDenied", "Forbidden"}:
                return True
            raise
        return False

    def tags(self) -> dict[str, str]:
        """Read the bucket's tags; none if there is no bucket, or it is another account's."""
        try:
            reply = self._client.call("get_bucket_tagging", Bucket=self.name)
        except AwsError as error:
            if error.code in {"NoSuchBucket", "NoSuchTagSet", "AccessDenied"}:
                return {}
            raise
        return {tag["Key"]: tag["Value"] for tag in reply["TagSet"]}

    def siblings(self, prefix: str) -> tuple[str, ...]:
        """Name this account's buckets, of all regions, whose names start with *prefix*."""
        pages = self._client.pages("list_buckets", Prefix=prefix)
        names = (bucket["Name"] for page in pages for bucket in page.get("Buckets", ()))
        return tuple(name for name in names if name.startswith(prefix))

    def abort_uploads(self) -> None:
        """Abort unfinished uploads, whose parts are billed and never listed."""
        for page in self._client.find_pages("list_multipart_uploads", Bucket=self.name):
            for upload in page.get("Uploads", ()):
                name = {"Bucket": self.name, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                self._client.find("abort_multipart_upload", **name)

    def delete(self) -> None:
        """Delete the bucket, if it exists; it must be empty."""
        self._client.find("delete_bucket", Bucket=self.name)

    def remove(self, keys: Iterable[str]) -> None:
        """Delete objects, if they exist; raises PartlyFailed if some could not be deleted."""
        self._delete({"Key": key} for key in keys)

    def purge(self, keys: Iterable[str]) -> int:
        """Delete objects with all their versions, which could be restored; return how many objects there were."""
        found = 0
        for key in dict.fromkeys(keys):
            pages = self._client.find_pages("list_object_versions", Bucket=self.name, Prefix=key)
            items = [it for page in pages for it in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]
            mine = [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in items if it["Key"] == key]
            found += bool(mine)
            self._delete(mine)
        return found

    def empty(self) -> int:
        """Delete all versions of all objects, and unfinished uploads; return the number of objects."""
        deleted = 0
        for page in self._client.find_pages("list_object_versions", Bucket=self.name):
            items = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            deleted += self._delete({"Key": item["Key"], "VersionId": item["VersionId"]} for item in items)
        self.abort_uploads()
        return deleted

    def _delete(self, objects: Iterable[dict[str, str]]) -> int:
        named = list(objects)

        def request(some: Sequence[dict[str, str]]) -> dict[str, Any]:
            return {"Bucket": self.name, "Delete": {"Objects": some, "Quiet": True}}

        try:
            self._client.call_all("delete_objects", named, _DELETE_AT_ONCE, request)
        except AwsError as error:
            if error.code != "NoSuchBucket":
                raise
        return len(named)


def _object(item: dict[str, Any]) -> S3Object:
    return S3Object(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"].timestamp())


def _groups(objects: Iterable[S3Object]) -> Iterator[list[S3Object]]:
    """Group consecutive objects, up to a few megabytes."""
    group: list[S3Object] = []
    for item in objects:
        if group and (len(group) == _GROUP_OBJECTS or sum(each.size for each in group) + item.size > _GROUP_BYTES):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


SCHEME = "s3://"


def open_prefix(ours: Bucket, uri: str) -> "FileSource":
    """List the objects below *uri*; *ours* is a bucket whose credentials are used.

    Raises:
        SourceError: no such bucket, or nothing below the prefix.
        AwsError: it may not be listed.
    """
    from scones.data.sources.files import FileSource, SourceFile, choose_by_name

    name, _, prefix = uri.removeprefix(SCHEME).partition("/")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    if not name:
        raise SourceError(f"{uri!r} names no bucket; use s3://bucket/prefix")
    bucket = ours.beside(name)
    if not bucket.exists():
        raise SourceError(f"there is no bucket {name!r} to take photos from")
    # An empty object whose key ends with a slash is a folder of the S3 console.
    found = [item for item in bucket.list(prefix) if item.size or not item.key.endswith("/")]
    if not found:
        raise SourceError(
            f"there is nothing below {uri}; it should hold <class>/<photo> (or train/ and test/ with those)"
        )
    files = [SourceFile(item.key.removeprefix(prefix), partial(_read, bucket, item)) for item in found]
    items, ignored = choose_by_name(files, lambda item: item.path)
    return FileSource(printable(prefix.rstrip("/").rpartition("/")[2] or name), uri, tuple(items), tuple(ignored))


def _read(bucket: Bucket, item: S3Object) -> bytes:
    from scones.data.sources.files import require_photo_size

    require_photo_size(item.size)
    try:
        return bucket.get(item.key)
    except AwsError as error:
        raise UnreadablePhoto(f"cannot be read: {error.code}") from error
