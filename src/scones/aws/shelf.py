"""A shelf of photos in S3: s3://bucket/prefix, in whichever bucket the credentials may read."""

from functools import partial

from scones.aws.client import AwsError
from scones.aws.s3 import Bucket, Object
from scones.photos.collection import SourceError
from scones.photos.header import UnreadablePhoto
from scones.photos.shelf import Item, Shelf, require_photo_size

SCHEME = "s3://"


def open_prefix(ours: Bucket, uri: str) -> Shelf:
    """List the objects below *uri*; *ours* is a bucket whose credentials are used.

    Raises:
        SourceError: no such bucket, or nothing below the prefix.
        AwsError: it may not be listed.
    """
    name, _, prefix = uri.removeprefix(SCHEME).partition("/")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    if not name:
        raise SourceError(f"{uri!r} names no bucket; it should be s3://bucket/prefix")
    bucket = ours.beside(name)
    if not bucket.exists():
        raise SourceError(f"there is no bucket {name!r} to take photos from")
    # A key that ends with a slash is the console's idea of a folder.
    found = [item for item in bucket.list(prefix) if not item.key.endswith("/")]
    if not found:
        raise SourceError(
            f"there is nothing below {uri}; it should hold <class>/<photo> (or train/ and test/ with those)"
        )
    items = tuple(Item(item.key.removeprefix(prefix), partial(_read, bucket, item)) for item in found)
    return Shelf(prefix.rstrip("/").rpartition("/")[2] or name, uri, items)


def _read(bucket: Bucket, item: Object) -> bytes:
    require_photo_size(item.size)
    try:
        return bucket.get(item.key)
    except AwsError as error:
        raise UnreadablePhoto(f"cannot be read: {error.code}") from error
