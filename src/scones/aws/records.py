"""Records: what each step found out, kept in the bucket, so that the next verb can go on from it."""

from typing import TypeVar

import msgspec

from scones.aws.s3 import Bucket
from scones.errors import NothingYet

T = TypeVar("T")


def remember(bucket: Bucket, step: str, result: object) -> None:
    """Keep the newest *result* of *step*."""
    bucket.put(_key(step), msgspec.json.encode(result), "application/json")


def recall(bucket: Bucket, step: str, kind: type[T], env: str) -> T:
    """Read the newest result of *step*.

    Raises:
        NothingYet: there is none, or an older version wrote it in another shape.
    """
    body = bucket.find(_key(step))
    if body is None:
        raise NothingYet(step, env)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise NothingYet(step, env) from error


def _key(step: str) -> str:
    return f"flow/{step}.json"
