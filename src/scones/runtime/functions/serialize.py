"""SerializeImage: check one photo in S3, and carry it along only when it is small."""

import base64
from typing import Any

import boto3

from scones.photos.header import read_header

# Step Functions stops at 262,144 bytes of state; base64 adds a third, so this leaves room for all the rest.
INLINE_LIMIT_BYTES = 64 * 1024
# A phone's JPEG may carry a thumbnail and colour profile before it says its size.
_HEADER_BYTES = 512 * 1024

_s3 = boto3.client("s3")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take `{"image_data", "s3_bucket", "s3_key"}`; give it back with `image_data` in base64 if it is small enough.

    A larger photo stays in S3, and `image_data` stays empty: the next function reads it there.

    Raises:
        UnreadablePhoto: the object is no photo, by its first bytes.
    """
    image_data = event.get("image_data") or ""
    if image_data:
        read_header(base64.b64decode(image_data))
    else:
        image_data = _read(event["s3_bucket"], event["s3_key"])
    return {**event, "image_data": image_data, "inferences": []}


def _read(bucket: str, key: str) -> str:
    reply = _s3.get_object(Bucket=bucket, Key=key)
    with reply["Body"] as body:
        start: bytes = body.read(_HEADER_BYTES)
    read_header(start)
    return base64.b64encode(start).decode() if reply["ContentLength"] <= INLINE_LIMIT_BYTES else ""
