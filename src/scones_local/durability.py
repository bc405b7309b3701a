"""S3 on disk: a write that fails is an error reply, and what is served afterwards is what the disk holds.

ministack only logs such failures, and replies 200.
"""

import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from scones_local.folders import PRIVATE
from scones_local.wire import Json

SWALLOWING = {
    "_persist_delete_marker",
    "_persist_displaced_version",
    "_delete_version_file",
    "_version_body",
    "_read_body",
    "_delete_persisted_object",
    "_delete_persisted_bucket",
    "_load_persisted_data",
}
"""The functions of ministack that log a failure of the disk and go on."""

S3Reply = tuple[int, dict[str, str], Any]

_EVENTS: ContextVar[list[Callable[[], None]] | None] = ContextVar("_EVENTS", default=None)
"""The events of the current request, which are sent once it has succeeded."""


class DiskFailed(OSError):
    """An object could not be written to, read from or removed from the disk."""


class _RaiseFailures(logging.Filter):
    """Raises what the functions in SWALLOWING would only log."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        if record.funcName in SWALLOWING and isinstance(error, Exception):
            raise DiskFailed(str(error)) from error
        return True


def install() -> None:
    """Make failures of the disk visible; called before ministack's S3 is imported, which loads what the disk holds."""
    logging.getLogger("s3").addFilter(_RaiseFailures())
    from ministack.services import s3  # noqa: PLC0415

    s3._persist_object = persist_object
    s3.handle_request = _patch_requests(s3.handle_request)
    s3._fire_s3_event_async = _patch_events(s3._fire_s3_event_async)


def persist_object(bucket: str, key: str, record: Json) -> None:
    """Write an object and its metadata: both completely before either gets its name.

    Raises:
        DiskFailed: the disk is full, or refuses for another reason; the former object is still there.
    """
    from ministack.services import s3  # noqa: PLC0415

    path = s3._object_disk_path(bucket, key)
    meta = {**s3._object_meta_from_record(record), **s3._key_history_meta(bucket, key), "key": key}
    # The metadata first: without an object beside it, it is ignored.
    try:
        contents = {f"{path}.meta.json": json.dumps(meta).encode()}
        if record.get("body") is not None:
            contents[path] = record["body"]
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_together(contents)
        s3._remove_key_files(s3._other_key_disk_path(str(_folder_of(bucket)), key, path))
    except (OSError, TypeError, ValueError) as error:
        raise DiskFailed(str(error)) from error
    record["body"] = None  # from now on it is read from the disk


def _write_together(contents: dict[str, bytes]) -> None:
    drafts = {f"{path}.tmp": path for path in contents}
    try:
        for draft, path in drafts.items():
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(contents[path])
        for draft, path in drafts.items():
            Path(draft).replace(path)
    except OSError:
        for draft in drafts:
            Path(draft).unlink(missing_ok=True)
        raise


def _patch_requests(handle: Callable[..., Awaitable[S3Reply]]) -> Callable[..., Awaitable[S3Reply]]:
    """Reply 500 to a request during which the disk failed, and forget what it left in memory."""
    from ministack.services import s3  # noqa: PLC0415

    async def handled(method: str, path: str, headers: dict[str, str], *rest: Any, **members: Any) -> S3Reply:
        events: list[Callable[[], None]] = []
        current = _EVENTS.set(events)
        try:
            reply = await handle(method, path, headers, *rest, **members)
        except OSError as error:
            bucket, _ = s3._parse_bucket_key(path, headers)
            _reload(bucket)
            failure: S3Reply = s3._error("InternalError", f"the local cloud's disk failed: {error}", 500, path)
            return failure
        finally:
            _EVENTS.reset(current)
        for fire in events:
            fire()
        return reply

    return handled


def _patch_events(fire: Callable[..., None]) -> Callable[..., None]:
    """Send an object's events after it is on the disk: ministack sends them before."""

    def fired(*arguments: Any, **members: Any) -> None:
        events = _EVENTS.get()
        if events is None:
            fire(*arguments, **members)
        else:
            events.append(partial(fire, *arguments, **members))

    return fired


def _reload(bucket: str) -> None:
    """Replace what is in memory of *bucket*'s objects by what is on the disk."""
    from ministack.services import s3  # noqa: PLC0415

    folder = _folder_of(bucket)
    if not bucket or not folder.is_dir():
        s3._buckets.pop(bucket, None)
        return
    if bucket in s3._buckets:
        s3._buckets[bucket]["objects"].clear()
    for name, key in [each for each in s3._object_versions if each[0] == bucket]:
        s3._object_versions.pop((name, key), None)
    s3._load_persisted_bucket(s3.get_account_id(), bucket, str(folder))


def _folder_of(bucket: str) -> Path:
    from ministack.services import s3  # noqa: PLC0415

    return Path(s3.DATA_DIR, s3.get_account_id(), bucket)
