"""SerializeImage: validate one photo, identify it by its hash, and pass it on inline if it is small."""

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import boto3

from scones.data.image_header import UnreadablePhoto, read_header
from scones.domain.decision import (
    EVENT_LIMIT_BYTES,
    INLINE_LIMIT_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_ORDERS,
    PHOTO_LIMIT_BYTES,
)
from scones.domain.naming import from_iso8601, to_iso8601
from scones.lambdas.services import STORAGE, BadEvent, storage, unreadable

_COURIER = ("id", "x_km", "y_km", "capacity")

_s3 = boto3.client("s3", config=STORAGE)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take `{"image_data", "s3_bucket", "s3_key"}`, and return it with `image_data` in base64 if the photo is small.

    A larger photo stays in S3 with `image_data` empty; the next function reads it there. Adds `photo_id`, the photo's
    SHA-256, `seen_at`, the time of the photo or of its upload, and the `courier` of the object's metadata.

    Raises:
        UnreadablePhoto: not an image by its first bytes, or too large; the message is JSON with its `photo_id`.
        BadEvent: the event is too large, or its `courier` or `seen_at` is not valid.
        StorageUnavailable: S3 does not answer; the state machine retries.
    """
    _check_size(event)
    image_data = event.get("image_data") or ""
    if image_data:
        photo, found = _decoded(image_data), {"seen_at": to_iso8601(datetime.now(UTC))}
    else:
        photo, found = _read(event["s3_bucket"], event["s3_key"])
    photo_id = hashlib.sha256(photo).hexdigest()
    try:
        read_header(photo)
    except UnreadablePhoto as error:
        raise unreadable(error.reason, photo_id) from error
    image_data = base64.b64encode(photo).decode() if len(photo) <= INLINE_LIMIT_BYTES else ""
    known = {name: value for name, value in event.items() if value is not None}
    whole = {**found, **known, "image_data": image_data, "inferences": [], "photo_id": photo_id}
    return _checked(whole)


def _check_size(event: dict[str, Any]) -> None:
    beside = len(json.dumps({**event, "image_data": ""}))
    if beside > EVENT_LIMIT_BYTES:
        raise BadEvent(f"the event has {beside:,} bytes besides its photo; the limit is {EVENT_LIMIT_BYTES:,}")
    inline = len(event.get("image_data") or "")
    if inline > 4 * -(-INLINE_LIMIT_BYTES // 3):
        raise BadEvent(f"image_data has {inline:,} characters: put photos above {INLINE_LIMIT_BYTES:,} bytes in S3")


def _decoded(image_data: str) -> bytes:
    try:
        return base64.b64decode(image_data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise unreadable("is not in base64", hashlib.sha256(image_data.encode()).hexdigest()) from error


def _read(bucket: str, key: str) -> tuple[bytes, dict[str, Any]]:
    """Read the photo, its time and its courier."""
    with storage(f"s3://{bucket}/{key}"):
        reply = _s3.get_object(Bucket=bucket, Key=key)
        if reply["ContentLength"] > PHOTO_LIMIT_BYTES:
            reply["Body"].close()
            # Its bytes are not read, so its id is the hash of the object's version.
            name = f"s3://{bucket}/{key}#{reply['ETag']}"
            reason = f"has {reply['ContentLength']:,} bytes; the limit is {PHOTO_LIMIT_BYTES:,}"
            raise unreadable(reason, hashlib.sha256(name.encode()).hexdigest())
        # Not in a `with`, which would return the raw stream, whose errors have other names.
        photo: bytes = reply["Body"].read()
    found: dict[str, Any] = {"seen_at": to_iso8601(reply["LastModified"])}
    if courier := reply.get("Metadata", {}).get("courier"):
        found["courier"] = _parsed(courier)
    return photo, found


def _parsed(courier: str) -> object:
    try:
        return json.loads(courier)
    except ValueError as error:
        raise BadEvent(f"the object's metadata `courier` is not JSON: {courier[:MAX_NAME_CHARACTERS]!r}") from error


def _checked(event: dict[str, Any]) -> dict[str, Any]:
    if "courier" in event:
        event["courier"] = _courier(event["courier"])
    try:
        seen_at = to_iso8601(from_iso8601(event["seen_at"]))
    except (TypeError, ValueError) as error:
        raise BadEvent(f"seen_at {event['seen_at']!r} is not a time in ISO 8601") from error
    return {**event, "seen_at": seen_at}


def _courier(courier: object) -> dict[str, Any]:
    if not isinstance(courier, dict) or not _is_sound(courier):
        form = f'{{"id": "...", "x_km": 0.0, "y_km": 0.0, "capacity": 0 to {MAX_ORDERS}}}'
        raise BadEvent(f"courier {str(courier)[:MAX_NAME_CHARACTERS]!r} is not of the form {form}")
    return {name: courier[name] for name in _COURIER}


def _is_sound(courier: dict[str, Any]) -> bool:
    return (
        isinstance(courier.get("id"), str)
        and 0 < len(courier["id"]) <= MAX_NAME_CHARACTERS
        and all(_is_number(courier.get(name)) and abs(courier[name]) < 1e6 for name in ("x_km", "y_km"))
        and isinstance(courier.get("capacity"), int)
        and not isinstance(courier["capacity"], bool)
        and 0 <= courier["capacity"] <= MAX_ORDERS
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
