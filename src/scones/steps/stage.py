"""Stage: put labelled photos, and lists of them, in the bucket, under a version that names their content."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.data.dataset import Collection, LabelledPhoto, LeftOut
from scones.data.manifest import Sample, to_lines, to_list
from scones.deployment.template import create_base_stack
from scones.domain.keys import list_key, manifest_key, outliers_prefix, split_prefix, version_prefix
from scones.domain.progress import Reporter

_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Staged:
    """What training and evaluation need to know about the staged photos."""

    name: str
    kind: Literal["photos", "rendered"]
    """`photos`, or `rendered` for drawings that only stand in for photos."""
    notice: str
    """What a person must be told about these photos; empty if nothing."""
    version: str
    classes: tuple[str, ...]
    train: int
    test: int
    uploaded: int
    """How many photos were not in the bucket yet."""
    left_out: tuple[LeftOut, ...]
    leaks: int = 0
    """Training photos left out since a test photo shows the same picture; `left_out` lists them, too."""
    moved: int = 0
    """Photos that were put on the side of the split where a photo of the same picture is."""


def stage(aws: Aws, settings: Settings, collection: Collection, report: Reporter) -> Staged:
    """Upload the photos of *collection*; what is in the bucket already is not uploaded again.

    A version's key is never written with another content: what an interrupted upload left there is good.
    """
    create_base_stack(aws, settings, report.tell)
    version = _version(collection.photos, collection.outliers)
    there = {item.key for item in aws.bucket.list(version_prefix(version))}
    missing = [(key, _reader(photo)) for key, photo in _files(collection, version) if key not in there]
    if missing:
        aws.bucket.put_all(missing, report.progress)
    # The lists come last: where they lie, all their photos lie.
    for key, body in _lists(collection, version, aws.bucket.name):
        if key not in there:
            aws.bucket.put(key, body)
    staged = Staged(
        name=collection.name,
        kind=collection.kind,
        notice=collection.notice,
        version=version,
        classes=collection.classes,
        train=sum(photo.split == "train" for photo in collection.photos),
        test=sum(photo.split == "test" for photo in collection.photos),
        uploaded=len(missing),
        left_out=collection.left_out,
        leaks=len(collection.findings.leaks),
        moved=collection.findings.moved,
    )
    report.tell(f"{staged.train} training and {staged.test} test photos staged as version {version}")
    return staged


def _files(collection: Collection, version: str) -> Iterator[tuple[str, LabelledPhoto]]:
    """Every photo with its key."""
    for photo in collection.photos:
        yield _key(photo, version), photo
    for photo in collection.outliers:
        yield f"{outliers_prefix(version)}{photo.label}/{photo.name}", photo


def _lists(collection: Collection, version: str, bucket: str) -> Iterator[tuple[str, bytes]]:
    for split in ("train", "test"):
        samples = [_sample(photo, version) for photo in collection.photos if photo.split == split]
        yield list_key(version, split), to_list(samples, collection.classes)
        yield manifest_key(version, split), to_lines(samples, bucket, collection.classes)


def _reader(photo: LabelledPhoto) -> Callable[[], bytes]:
    return lambda: photo.data


def _key(photo: LabelledPhoto, version: str) -> str:
    return f"{split_prefix(version, photo.split)}{photo.label}/{photo.name}"


def _sample(photo: LabelledPhoto, version: str) -> Sample:
    return Sample(_key(photo, version), photo.label, photo.split, photo.sha256)


def _version(photos: Sequence[LabelledPhoto], outliers: Sequence[LabelledPhoto]) -> str:
    whole = hashlib.sha256()
    for photo in [*_ordered(photos), *_ordered(outliers)]:
        for part in (photo.split, photo.label, photo.name):
            whole.update(hashlib.sha256(part.encode()).digest())
        whole.update(bytes.fromhex(photo.sha256))
    return whole.hexdigest()[:_VERSION_DIGITS]


def _ordered(photos: Sequence[LabelledPhoto]) -> list[LabelledPhoto]:
    return sorted(photos, key=lambda photo: (photo.split, photo.label, photo.name))
