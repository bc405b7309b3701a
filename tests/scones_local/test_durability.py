"""A durable cloud's S3: what was answered 200 is on the disk, and what could not be written is an error."""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from access_keys import BOTO_KEYS, KEY
from scones_local import cloud
from waiting import eventually

BUCKET = "bucket"


def client(running: cloud.Cloud) -> Any:
    """S3, without retries."""
    return boto3.client(
        "s3",
        endpoint_url=running.endpoint_url,
        region_name=running.region,
        **BOTO_KEYS,
        config=Config(retries={"total_max_attempts": 1}),
    )


@contextmanager
def durable(folder: Path, s3_folder: Path) -> Iterator[tuple[cloud.Cloud, Any]]:
    """A durable cloud."""
    running = cloud.start(folder / "state", s3_folder=s3_folder, key=KEY)
    try:
        yield running, client(running)
    finally:
        cloud.stop(running)


def crash(running: cloud.Cloud) -> None:
    """Kill the cloud, and wait until it has ended."""
    os.kill(running.pid, signal.SIGKILL)
    assert eventually(lambda: not running.state.exists())


def attempt(call: Any, **members: Any) -> bool:
    """Whether a request succeeds; an error must be the server's."""
    try:
        call(**members)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
            raise
        return False
    return True


def contents(s3: Any, keys: list[str]) -> dict[str, bytes | None]:
    """What is served of *keys*."""
    listed = {
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for entry in page.get("Contents", ())
    }
    return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() if key in listed else None for key in keys}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if not (mount and umount) or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield disk
    subprocess.run([umount, "--lazy", str(disk)], check=True)


@pytest.fixture
def small_files() -> Iterator[int]:
    """A limit on the size of files, which the cloud's processes inherit: larger writes fail, for any user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    yield 200_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_is_an_error(tmp_path: Path, small_files: int) -> None:
    """By PUT, copy or multipart upload: 5xx, and the former object stays, also after a crash."""
    small, large = b"s" * 1000, b"l" * (small_files + 1)
    with durable(tmp_path, tmp_path / "s3") as (running, s3):
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="kept", Body=small, Metadata={"of": "the former"})
        assert not attempt(s3.put_object, Bucket=BUCKET, Key="kept", Body=large, Metadata={"of": "the new"})
        assert not attempt(s3.put_object, Bucket=BUCKET, Key="new", Body=large)
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
        part = {"Bucket": BUCKET, "Key": "parts", "UploadId": upload}
        tag = s3.upload_part(**part, PartNumber=1, Body=large)["ETag"]
        assert not attempt(
            s3.complete_multipart_upload, **part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}
        )
        expected = {"kept": small, "new": None, "parts": None}
        assert contents(s3, list(expected)) == expected
        assert s3.head_object(Bucket=BUCKET, Key="kept")["Metadata"] == {"of": "the former"}
        crash(running)
        again = cloud.start(running.state, s3_folder=running.s3_folder, key=KEY)
        assert contents(client(again), list(expected)) == expected
        assert not list((tmp_path / "s3").rglob("*.tmp"))
        cloud.stop(again)


@pytest.mark.parametrize("versioned", [False, True])
def test_on_a_full_disk_what_was_answered_200_is_there_after_a_crash(small_disk: Path, versioned: bool) -> None:
    """Objects are written, replaced and deleted until the disk is full and beyond; memory and disk agree."""
    wanted: dict[str, bytes | None] = {}
    refused = 0
    with durable(small_disk.parent, small_disk / "s3") as (running, s3):
        s3.create_bucket(Bucket=BUCKET)
        if versioned:
            s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        for number in range(90):
            key, body = f"folder/{number % 60}", bytes([number]) * (9_000 + 700 * number)
            if attempt(s3.put_object, Bucket=BUCKET, Key=key, Body=body):
                wanted[key] = body
            else:
                refused += 1
                wanted.setdefault(key, None)
            if number % 7 == 6 and attempt(s3.delete_object, Bucket=BUCKET, Key=key):
                wanted[key] = None
        assert refused
        assert any(wanted.values())
        assert contents(s3, list(wanted)) == wanted
        crash(running)
        again = cloud.start(running.state, s3_folder=running.s3_folder, key=KEY)
        assert contents(client(again), list(wanted)) == wanted
        cloud.stop(again)


def test_an_object_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Never an empty object: when its file has disappeared, the reply is a 5xx."""
    with durable(tmp_path, tmp_path / "s3") as (_, s3):
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="lost", Body=b"bytes")
        next((tmp_path / "s3").rglob("lost")).unlink()
        assert not attempt(s3.get_object, Bucket=BUCKET, Key="lost")


def test_a_bucket_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A bucket without its folder would lose every object."""
    with durable(tmp_path, tmp_path / "s3") as (_, s3):
        s3.create_bucket(Bucket="first")
        account = tmp_path / "s3" / "000000000000"
        account.rename(tmp_path / "away")
        account.write_text("in the way")
        assert not attempt(s3.create_bucket, Bucket=BUCKET)
        assert BUCKET not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
