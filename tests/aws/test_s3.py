from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from scones.aws.connection import Aws
from scones.aws.s3 import Bucket, S3Object, open_prefix
from scones.config.settings import Settings
from scones.data.dataset import SourceError
from scones.data.sources.folder import load_files
from scones.deployment.cleanup import inventory
from scones.deployment.template import base_template
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from tiny_model import noisy_pngs


def stand(aws: Aws) -> None:
    """Bring up the foundation: the bucket and the roles."""
    aws.stack.deploy(base_template(), {"Env": aws.env}, Silent().tell)


def test_an_object_reads_back_as_it_was_put(aws: Aws) -> None:
    """Any bytes, under any key: spaces, accents and all."""
    stand(aws)
    key = "incoming/vélo à moi +1.png"
    assert aws.bucket.key(aws.bucket.put(key, b"\x00\xff")) == key
    assert aws.bucket.get(key) == b"\x00\xff"
    assert [item.key for item in aws.bucket.list("incoming/")] == [key]


def test_what_is_not_there_is_none(aws: Aws) -> None:
    """Neither a missing object nor a missing bucket is an error to `find`."""
    assert aws.bucket.find("nothing") is None
    stand(aws)
    assert aws.bucket.find_json("nothing") is None


def test_many_objects_come_back_in_their_order(aws: Aws) -> None:
    """Uploads and downloads side by side keep the order, and report each one."""
    stand(aws)
    items = [(f"data/{number}", str(number).encode()) for number in range(50)]
    seen: list[int] = []
    uploads = [(key, partial(bytes, body)) for key, body in items]
    aws.bucket.put_all(uploads, lambda done, _total, _what: seen.append(done))
    assert aws.bucket.get_all([key for key, _ in items]) == [body for _, body in items]
    assert seen == list(range(1, 51))


def test_emptying_removes_versions_and_unfinished_uploads(aws: Aws) -> None:
    """Nothing hides in a bucket that was emptied; emptying it again finds nothing."""
    stand(aws)
    client = aws.bucket._client
    client.call("put_bucket_versioning", Bucket=aws.bucket.name, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"old", b"new"):
        aws.bucket.put("twice", body)
    client.call("create_multipart_upload", Bucket=aws.bucket.name, Key="unfinished")
    assert aws.bucket.empty() == 2
    assert client.call("list_multipart_uploads", Bucket=aws.bucket.name).get("Uploads", []) == []
    assert aws.bucket.empty() == 0


def test_emptying_a_bucket_that_is_not_there_finds_nothing(aws: Aws) -> None:
    """`down` may run twice."""
    assert aws.bucket.empty() == 0
    aws.bucket.delete()
    assert inventory(aws) == ()


def test_of_two_writers_on_one_version_the_second_is_told(aws: Aws) -> None:
    """Neither overwrites what it has not read."""
    stand(aws)
    body, tag = aws.bucket.find_version("state.json")
    assert (body, tag) == (None, "")
    first = aws.bucket.replace("state.json", b"1", tag)
    assert first
    assert aws.bucket.replace("state.json", b"2", "") is None
    assert aws.bucket.replace("state.json", b"3", first)
    assert aws.bucket.replace("state.json", b"4", first) is None
    assert aws.bucket.find_version("state.json")[0] == b"3"


def test_many_objects_are_read_in_order_large_ones_in_pieces(aws: Aws) -> None:
    """One that was deleted meanwhile is said to be gone."""
    stand(aws)
    bodies = {"r/a": b"a", "r/b": bytes(9 << 20), "r/c": b"c", "r/d": b""}
    for key, body in bodies.items():
        aws.bucket.put(key, body)
    listed = [*aws.bucket.list("r/"), S3Object("r/e", 1, "", 0.0)]
    found = {item.key: pieces if pieces is None else list(pieces) for item, pieces in aws.bucket.read_all(listed)}
    assert list(found) == [item.key for item in listed]
    assert found.pop("r/e") is None
    assert len(found["r/b"] or ()) == 9
    assert {key: b"".join(pieces or ()) for key, pieces in found.items()} == bodies


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
        ("bicycle/notes.txt", "is not a PNG, JPEG, WebP, GIF or BMP image")
    ]
    assert {photo.data for photo in found.photos} == set(noisy_pngs(24, seed=5))


def test_every_object_is_used_or_listed_with_a_reason(aws: Aws, source: Bucket) -> None:
    """By the rule of folders: only empty objects whose key ends with a slash, the console's folders, are no files."""
    prefix, photo = "vélos et motos/bicycle/", noisy_pngs(1, seed=6)[0]
    odd = {".DS_Store": b"x", "._IMG.png": photo, "empty.png": b"", "/no name.png": photo, "folder/": photo}
    for name, body in odd.items():
        source.put(f"{prefix}{name}", body)
    found = load_files(open_prefix(aws.bucket, f"s3://{source.name}/vélos et motos"), CLASSES, lambda *_: None)
    assert len(found.photos) == 24
    assert {item.name.removeprefix("bicycle/"): item.reason for item in found.left_out} == {
        "notes.txt": "is not a PNG, JPEG, WebP, GIF or BMP image",
        ".DS_Store": "is hidden",
        "._IMG.png": "holds metadata of macOS",
        "empty.png": "is empty",
        "/": "has an empty name",
        "folder/": "has an empty name",
    }


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
