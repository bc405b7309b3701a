"""Stage: put labelled photos, and a manifest of them, in the bucket, under a version that names their content."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from scones.aws.connection import Aws
from scones.manifest import Sample, manifest_key, outliers_prefix, split_prefix, to_lines
from scones.photos.source import Collection, LabelledPhoto, LeftOut
from scones.progress import Reporter
from scones.release import template

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
    left_out: tuple[LeftOut, ...]


def stage(aws: Aws, collection: Collection, report: Reporter) -> Staged:
    """Upload the photos of *collection*; a version that is there already is not uploaded again."""
    if aws.stack.find() is None:
        aws.stack.deploy(template(), {"Env": aws.env}, report.tell)
    version = _version(collection.photos, collection.outliers)
    samples = {photo: _sample(photo, version) for photo in collection.photos}
    outliers = [(f"{outliers_prefix(version)}{photo.label}/{photo.name}", photo.data) for photo in collection.outliers]
    staged = Staged(
        name=collection.name,
        kind=collection.kind,
        notice=collection.notice,
        version=version,
        classes=collection.classes,
        train=sum(photo.split == "train" for photo in collection.photos),
        test=sum(photo.split == "test" for photo in collection.photos),
        uploaded=0 if _is_complete(aws, version) else len(samples),
        left_out=collection.left_out,
    )
    if staged.uploaded:
        files = [(sample.key, photo.data) for photo, sample in samples.items()]
        aws.bucket.put_all(files + outliers, report.progress)
        # The manifest comes last: where it lies, all its photos lie.
        aws.bucket.put(manifest_key(version), to_lines(samples.values(), aws.bucket.name, collection.classes))
    report.tell(f"{staged.train} training and {staged.test} test photos staged as version {version}")
    return staged


def _is_complete(aws: Aws, version: str) -> bool:
    return aws.bucket.find(manifest_key(version)) is not None


def _sample(photo: LabelledPhoto, version: str) -> Sample:
    key = f"{split_prefix(version, photo.split)}{photo.label}/{photo.name}"
    return Sample(key, photo.label, photo.split, hashlib.sha256(photo.data).hexdigest())


def _version(photos: tuple[LabelledPhoto, ...], outliers: tuple[LabelledPhoto, ...]) -> str:
    whole = hashlib.sha256()
    for photo in [*_ordered(photos), *_ordered(outliers)]:
        for part in (photo.split.encode(), photo.label.encode(), photo.name.encode(), photo.data):
            whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:_VERSION_DIGITS]


def _ordered(photos: tuple[LabelledPhoto, ...]) -> list[LabelledPhoto]:
    return sorted(photos, key=lambda photo: (photo.split, photo.label, photo.name))
