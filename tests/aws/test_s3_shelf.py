"""Photos that lie in S3, in a bucket of somebody else's."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from scones.aws.connection import Aws
from scones.aws.s3 import Bucket, open_prefix
from scones.config.settings import Settings
from scones.data.dataset import SourceError
from scones.data.sources.folder import load_files
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from tiny_model import noisy_pngs

CLASSES = ("bicycle", "motorcycle")


@pytest.fixture
def source(aws: Aws) -> Iterator[Bucket]:
    """Another bucket, with 24 photos below a prefix, and what else one finds there."""
    bucket = aws.bucket.beside(f"{aws.name}-archive")
    bucket._client.call("create_bucket", Bucket=bucket.name)
    for number, data in enumerate(noisy_pngs(24, seed=5)):
        bucket.put(f"vélos et motos/{CLASSES[number % 2].title()}/été {number}.png", data)
    bucket.put("vélos et motos/bicycle/", b"")
    bucket.put("vélos et motos/bicycle/notes.txt", b"no photo")
    bucket.put("vélos et motosages/van/1.png", b"of another prefix")
    yield bucket
    bucket.empty()
    bucket.delete()


def test_photos_below_a_prefix_are_collected(aws: Aws, source: Bucket) -> None:
    """By the same rules as those of a folder: classes, splits, and what is left out."""
    shelf = open_prefix(aws.bucket, f"s3://{source.name}/vélos et motos")
    found = load_files(shelf, CLASSES, lambda *_: None)
    assert (found.name, found.classes, len(found.photos)) == ("vélos et motos", CLASSES, 24)
    assert [(item.name, item.reason) for item in found.left_out] == [
        ("bicycle/notes.txt", "is no PNG, JPEG, WebP, GIF or BMP image")
    ]
    assert {photo.data for photo in found.photos} == set(noisy_pngs(24, seed=5))


def test_photos_of_s3_are_staged_like_any_other(aws: Aws, source: Bucket, settings: Settings) -> None:
    """With a slash at the end or without, it is the same version, uploaded once."""
    first = Pipeline(aws, replace(settings, data=f"s3://{source.name}/vélos et motos"), Silent()).stage()
    again = Pipeline(aws, replace(settings, data=f"s3://{source.name}/vélos et motos/"), Silent()).stage()
    assert (first.uploaded, again.uploaded, again.version) == (24, 0, first.version)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://no-such-bucket-anywhere/photos", "there is no bucket 'no-such-bucket-anywhere'"),
        ("s3:///photos", "names no bucket; use s3://bucket/prefix"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(aws: Aws, uri: str, reason: str) -> None:
    """It says what is wrong with it."""
    with pytest.raises(SourceError, match=reason):
        open_prefix(aws.bucket, uri)


def test_an_empty_prefix_says_what_should_be_there(aws: Aws, source: Bucket) -> None:
    """Class folders, with photos."""
    with pytest.raises(SourceError, match=r"nothing below s3://.*/nowhere; it should hold <class>/<photo>"):
        open_prefix(aws.bucket, f"s3://{source.name}/nowhere")


def test_a_photo_that_is_gone_is_left_out(aws: Aws, source: Bucket) -> None:
    """It was listed, and deleted before it was read."""
    shelf = open_prefix(aws.bucket, f"s3://{source.name}/vélos et motos")
    source._client.call("delete_object", Bucket=source.name, Key="vélos et motos/Bicycle/été 0.png")
    found = load_files(shelf, CLASSES, lambda *_: None)
    assert ("Bicycle/été 0.png", "cannot be read: NoSuchKey") in [(o.name, o.reason) for o in found.left_out]
