"""SerializeImage: validate one photo, identify it by its hash, and pass it on inline if it is small."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

import boto3

from scones.data.image_header import UnreadablePhoto, read_header
from scones.domain.decision import (
    EVENT_LIMIT_BYTES,
    INLINE_LIMIT_BYTES,
    INLINE_TEXT_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_ORDERS,
    PHOTO_LIMIT_BYTES,
)
from scones.domain.errors import WorkflowError, raise_as
from scones.domain.naming import INCOMING_PREFIX, MAX_INFERENCE_ID_CHARACTERS, from_iso8601, to_iso8601
from scones.domain.wire import read_base64
from scones.lambdas import execution_of, logged
from scones.lambdas.services import STORAGE, BadEvent, storage, unreadable

_DECIDED = {
    *("photo_id", "inferences", "model_version", "unfamiliarity", "unfamiliar", "label", "confidence", "threshold"),
    *("classes", "reason", "error", "dispatch", "orders", "execution"),
}
"""Fields that the workflow sets itself: an event that is an earlier output has them."""
_BUCKET = re.compile(r"[a-zA-Z0-9.\-_]{1,255}")
_COURIER = ("id", "x_km", "y_km", "capacity")
_MAX_KM = 1e6
# DynamoDB holds no smaller number except 0.
_MIN_KM = 1e-130
_OLDEST_YEAR = 1970
_TOO_LARGE = f"put photos above {INLINE_LIMIT_BYTES:,} bytes in S3"

_s3 = boto3.client("s3", config=STORAGE)


class NotAPhoto(WorkflowError):
    """An upload that is a folder's marker or a hidden file by its key; its execution ends without a trace."""


@logged
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take `{"image_data", "s3_bucket", "s3_key"}`, and return it with `image_data` in base64 if the photo is small.

    The state machine gives it as the `photo` beside the name of the `execution`, which is returned with it. A larger
    photo stays in S3 with `image_data` empty; the next function reads it there. Adds `photo_id`, the photo's SHA-256,
    `seen_at`, the time of the photo or of its upload, and the `courier` of the object's metadata.

    Raises:
        UnreadablePhoto: not an image by its first bytes, or too large; the message is JSON with its `photo_id`.
        NotAPhoto: the key of an upload is that of a folder or a hidden file.
        BadEvent: the event is not of the documented form, or too large.
        StorageUnavailable: S3 does not answer; the state machine retries.
    """
    execution = execution_of(event) if _is_wrapped(event) else ""
    with raise_as(lambda reason: BadEvent(f"the event {reason}")):
        known = _checked(event["photo"] if execution else event)
    named = {"execution": execution} if execution else {}
    if known["s3_key"].startswith(INCOMING_PREFIX) and _is_hidden(known["s3_key"]):
        raise NotAPhoto(f"{known['s3_key']} is a folder or a hidden file")
    if known["image_data"]:
        photo, found = _decoded(known["image_data"]), {"seen_at": to_iso8601(datetime.now(UTC))}
    else:
        photo, found = _read(known["s3_bucket"], known["s3_key"])
    photo_id = hashlib.sha256(photo).hexdigest()
    try:
        with raise_as(UnreadablePhoto):
            read_header(photo)
    except UnreadablePhoto as error:
        raise unreadable(error.reason, photo_id) from error
    image_data = base64.b64encode(photo).decode() if len(photo) <= INLINE_LIMIT_BYTES else ""
    return {**found, **known, "image_data": image_data, "inferences": [], "photo_id": photo_id, **named}


def _is_wrapped(event: object) -> bool:
    """Whether the state machine gave the event, with the name of its execution."""
    return isinstance(event, dict) and event.keys() == {"execution", "photo"}


def _checked(event: object) -> dict[str, Any]:
    """The fields of the event that are set, in their checked form, without those that the functions set themselves.

    Raises:
        BadEvent: a field has another type or a value that a later state cannot handle.
    """
    if not isinstance(event, dict):
        raise BadEvent(f"the event must be a JSON object, not {type(event).__name__}")
    known = {"image_data": "", "s3_bucket": "", "s3_key": ""} | {
        name: value for name, value in event.items() if value is not None and name not in _DECIDED
    }
    # A lone surrogate is valid in JSON, but no service accepts it.
    json.dumps(known, ensure_ascii=False).encode()
    beside = len(json.dumps({**event, "image_data": ""}))
    if beside > EVENT_LIMIT_BYTES:
        raise BadEvent(f"the event has {beside:,} bytes besides its photo; the limit is {EVENT_LIMIT_BYTES:,}")
    for name in ("image_data", "s3_bucket", "s3_key", "inference_id"):
        if not isinstance(known.get(name, ""), str):
            raise BadEvent(f"{name} must be a text, not {type(known[name]).__name__}")
    if len(json.dumps(known["image_data"])) > INLINE_TEXT_BYTES:
        raise BadEvent(f"image_data has more than {INLINE_TEXT_BYTES:,} bytes: {_TOO_LARGE}")
    if len(known.get("inference_id", "")) > MAX_INFERENCE_ID_CHARACTERS:
        raise BadEvent(f"inference_id has more than {MAX_INFERENCE_ID_CHARACTERS} characters")
    if not known["image_data"] and not (_BUCKET.fullmatch(known["s3_bucket"]) and known["s3_key"]):
        raise BadEvent("the event names no photo; set s3_bucket and s3_key, or image_data")
    if "courier" in known:
        known["courier"] = _courier(known["courier"])
    if "seen_at" in known:
        known["seen_at"] = _time(known["seen_at"])
    return known


def _is_hidden(key: str) -> bool:
    parts = key.split("/")
    return parts[-1] in ("", "Thumbs.db") or any(part.startswith(".") for part in parts)


def _decoded(image_data: str) -> bytes:
    try:
        photo = read_base64(image_data)
    except ValueError as error:
        raise unreadable("is not in base64", hashlib.sha256(image_data.encode()).hexdigest()) from error
    if len(photo) > INLINE_LIMIT_BYTES:
        raise BadEvent(f"image_data holds {len(photo):,} bytes: {_TOO_LARGE}")
    return photo


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
        with raise_as(lambda reason: BadEvent(f"the object's metadata `courier` {reason}")):
            found["courier"] = _courier(json.loads(courier))
    return photo, found


def _time(seen_at: object) -> str:
    try:
        moment = from_iso8601(seen_at) if isinstance(seen_at, str) else None
        if moment is not None and moment.year >= _OLDEST_YEAR:
            return to_iso8601(moment)
    except (ValueError, OverflowError):
        pass
    raise BadEvent(f"seen_at {str(seen_at)[:MAX_NAME_CHARACTERS]!r} is not a time since {_OLDEST_YEAR} in ISO 8601")


def _courier(courier: object) -> dict[str, Any]:
    if not isinstance(courier, dict) or not _is_sound(courier):
        form = f'{{"id": "...", "x_km": 0.0, "y_km": 0.0, "capacity": 0 to {MAX_ORDERS}}}'
        raise BadEvent(f"courier {str(courier)[:MAX_NAME_CHARACTERS]!r} is not of the form {form}")
    courier["id"].encode()
    return {name: courier[name] for name in _COURIER}


def _is_sound(courier: dict[str, Any]) -> bool:
    return (
        isinstance(courier.get("id"), str)
        and 0 < len(courier["id"]) <= MAX_NAME_CHARACTERS
        and all(_is_coordinate(courier.get(name)) for name in ("x_km", "y_km"))
        and isinstance(courier.get("capacity"), int)
        and not isinstance(courier["capacity"], bool)
        and 0 <= courier["capacity"] <= MAX_ORDERS
    )


def _is_coordinate(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return value == 0 or _MIN_KM <= abs(value) < _MAX_KM
